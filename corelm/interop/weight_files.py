"""The files of weights that a model's folder names: safetensors inside the folder, no others.

An engine opens each file that an index names, wherever it is, and chooses the format by its
suffix: pickled weights would run code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corelm.errors import ModelFileError

WEIGHTS = ".safetensors"
INDEX = f"{WEIGHTS}.index.json"
NAMED = "transformers_weights"
"""The key of `config.json` that names another file of weights."""


def check_weight_files(folder: Path) -> None:
    """Raise if an index or a configuration names weights that aren't safetensors in the folder.

    Args:
        folder: a folder with a `config.json`.

    Raises:
        ModelFileError: the message has the file and the weights that it names.
    """
    config = folder / "config.json"
    if (named := _read(config).get(NAMED)) is not None:
        _check(config, named, folder, (WEIGHTS, INDEX))
    for index in sorted(folder.rglob(f"*{INDEX}")):
        shards = _read(index).get("weight_map")
        if not isinstance(shards, dict):
            raise ModelFileError(f"{str(index)!r}: it has no weight_map")
        for shard in dict.fromkeys(map(str, shards.values())):
            _check(index, shard, folder, (WEIGHTS,))


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{str(file)!r}: it cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}


def _check(file: Path, named: Any, folder: Path, suffixes: tuple[str, ...]) -> None:
    path = folder / str(named)
    if not (str(named).endswith(suffixes) and _is_inside(path, folder)):
        raise ModelFileError(
            f"{str(file)!r}: the weights {str(named)!r} aren't a {WEIGHTS} file in the folder; "
            "put them there, in that format"
        )


def _is_inside(path: Path, folder: Path) -> bool:
    """Return True for a path in a folder, symbolic links resolved.

    The files of a snapshot in the cache of Hugging Face are links to the blobs beside it.
    """
    resolved = path.resolve()
    allowed = [folder.resolve()]
    if folder.parent.name == "snapshots" and ".." not in path.relative_to(folder).parts:
        allowed.append((folder.parent.parent / "blobs").resolve())
    return any(resolved.is_relative_to(place) for place in allowed)
