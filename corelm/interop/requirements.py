"""Checks that adapters make before they use an engine: its version, and the model to read.

A model is a folder, whose files are checked, or a name in the cache of Hugging Face, from which
nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ContextDecorator
from importlib import import_module
from pathlib import Path
from typing import Any

from corelm.atomic_files import SafeFile
from corelm.errors import (
    CorelmError,
    MissingDependencyError,
    ModelFileError,
    ParameterError,
    UnknownNameError,
)
from corelm.text.printable import reason_of

__all__ = ["check_model", "hub_models", "requires"]

DTYPES = ("float32", "float16", "bfloat16")
WEIGHTS = ".safetensors"
INDEX = f"{WEIGHTS}.index.json"
NAMED = "transformers_weights"
"""The key of `config.json` that names another file of weights."""

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
LARGEST_CONFIG = 2**20
LARGEST_FILE = 2**28
"""The largest tokenizer or other file that is read whole, in bytes; those in use reach 2**25."""

READ_WHOLE = {".json", ".jinja", ".model", ".tiktoken", ".txt"}
LARGEST_SIZE, MOST_LAYERS = 2**30, 1000
"""Bounds on a configuration: engines build a network from it before they read weights."""

IMPLEMENTATIONS = ("eager", "sdpa", "flex_attention", "paged|eager", "batched_mm", "grouped_mm")
"""transformers' own code for attention and experts. It fetches all others from a hub, if the
package `kernels` is installed, and runs them."""

CHOOSES_CODE = re.compile("(attn|experts)_implementation")
RENAMES = "attribute_map"
"""A key of `config.json` that gives transformers' settings other names."""


class requires(ContextDecorator):  # noqa: N801
    """Turn an engine's failure into an error of one line that names a version that works.

    Put it around the import of an engine, or as a decorator around a function that uses it.
    corelm's own errors pass.

    Args:
        package: the name of the engine for pip, such as `mlx-lm`.
        version: the oldest version that works, such as `0.32`.

    Raises:
        MissingDependencyError: the engine is not installed, too old or broken, or it has changed
            its interface.

    Example:
        >>> with requires("a-fast-engine", "1.2"):
        ...     import a_fast_engine
        Traceback (most recent call last):
        corelm.errors.MissingDependencyError: a-fast-engine is not installed; pip install "a-fast-engine>=1.2"
    """  # noqa: E501  the last line of a traceback

    def __init__(self, package: str, version: str) -> None:
        self._package, self._version = package, version
        self._newer = f'pip install "{package}>={version}"'

    def lazy_names(self, module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
        """Return the `__getattr__` of an adapter's package, which imports the engine on first use.

        Args:
            module: the name of the package.
            homes: the module of each public name in it.
        """

        def find(name: str) -> Any:
            if name not in homes:
                raise AttributeError(f"module {module!r} has no attribute {name!r}")
            with self:
                return getattr(import_module(f"{module}.{homes[name]}"), name)

        return find

    def __enter__(self) -> None:
        installed = _installed(self._package)
        if installed is not None and _numbers(installed) < _numbers(self._version):
            raise MissingDependencyError(f"{self._package} {installed} is too old; {self._newer}")

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # An engine's interface may change in any way.
        if not isinstance(error, Exception) or isinstance(error, CorelmError):
            return
        package, installed = self._package, _installed(self._package)
        if installed is None and isinstance(error, ModuleNotFoundError):
            raise MissingDependencyError(f"{package} is not installed; {self._newer}") from error
        engine = package if installed is None else f"{package} {installed}"
        raise MissingDependencyError(
            f"{engine} cannot be used: {reason_of(error)}; a version that works: "
            f'pip install "{package}=={self._version}.*"'
        ) from error


def _installed(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    """Return the numbers at the start of a version, for comparison with another version."""
    release = re.match(r"[\d.]*", version)
    return [int(part) for part in release[0].split(".") if part] if release else []


def check_model(name: str | Path, dtype: str | None = None) -> list[Path]:
    """Raise if a model isn't on this machine, or its files are more than any model needs.

    Call it before you import an engine, which takes seconds, and again with the folder that the
    engine reads. Files may cost an engine memory or time without bound, or run code; weights are
    left to the engine, which maps them.

    Args:
        name: a folder with a `config.json`, or the name of a model in the cache of Hugging Face.
        dtype: the number format that the user asked for; None for the weights' own.

    Returns:
        The absolute paths of the folder's files but hidden ones; none for a name.

    Raises:
        ParameterError: no such number format.
        UnknownNameError: neither a folder nor a model in the cache; the message has the command to
            download a model.
        ModelFileError: a file that is too large or not regular, an impossible size in
            `config.json`, or weights that aren't safetensors in the folder; the message has the
            file and the reason.

    Example:
        >>> check_model("./nowhere")
        Traceback (most recent call last):
        corelm.errors.UnknownNameError: there is no folder ./nowhere
    """
    if dtype not in (None, *DTYPES):
        raise ParameterError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    if Path(name).is_dir():
        return _checked_files(Path(name).absolute())
    if isinstance(name, Path) or name.startswith((".", "~")) or Path(name).is_absolute():
        raise UnknownNameError(f"there is no folder {name}")
    if name not in hub_models():
        raise UnknownNameError(
            f"there is no folder {name}, and no model of that name with safetensors in the cache "
            f"of Hugging Face; to download one, run: hf download {name}"
        )
    return []


def _checked_files(folder: Path) -> list[Path]:
    files = []
    if not (folder / CONFIG).exists():
        raise ModelFileError(f"{str(folder)!r}: there is no {CONFIG}")
    for file in sorted(folder.rglob("*")):
        if file.is_dir() or not file.exists():  # the engine reports a broken link itself
            continue
        if not file.is_file():
            raise ModelFileError(f"{str(file)!r}: it isn't a regular file")
        most = LARGEST_CONFIG if file.name == CONFIG else LARGEST_FILE
        if file.suffix in READ_WHOLE and file.stat().st_size > most:
            raise ModelFileError(f"{str(file)!r}: it has more than {most} bytes")
        if not any(part.startswith(".") for part in file.relative_to(folder).parts):
            files.append(file)
    if (folder / ADAPTER).exists():  # it names a base model, anywhere
        raise ModelFileError(
            f"{str(folder / ADAPTER)!r}: it is an adapter of peft; merge it into its model"
        )
    _check_configuration(folder / CONFIG)
    _check_weight_files(folder)
    return files


def _check_configuration(file: Path) -> None:
    """Raise if a configuration, or a part of it, has impossible sizes."""
    parts: list[Any] = [_read(file)]
    while parts:  # not recursive: the nesting is the file's choice
        part = parts.pop()
        items = part.items() if isinstance(part, dict) else [("", value) for value in part]
        for name, value in items:
            if name == RENAMES or (CHOOSES_CODE.search(name) and not _is_own_code(value)):
                raise ModelFileError(
                    f"{str(file)!r}: {name} = {value!r} may be code of a hub, which is never "
                    "loaded; delete the line"
                )
            if isinstance(value, (dict, list)):
                parts.append(value)
            most = MOST_LAYERS if name.endswith(("layers", "layer")) else LARGEST_SIZE
            if isinstance(value, int) and value > most:
                raise ModelFileError(f"{str(file)!r}: {name} = {value} is more than {most}")


def _is_own_code(value: Any) -> bool:
    """Return True for None, the name of an implementation, or a mapping of parts to such names."""
    names = value.values() if isinstance(value, dict) else [value]
    return all(name is None or name in IMPLEMENTATIONS for name in names)


def _check_weight_files(folder: Path) -> None:
    """Raise if an index or a configuration names weights that aren't safetensors in the folder.

    An engine opens each file that an index names, wherever it is, and chooses the format by its
    suffix: pickled weights would run code.

    Args:
        folder: a folder with a `config.json`.

    Raises:
        ModelFileError: the message has the file and the weights that it names.
    """
    config = folder / CONFIG
    if (named := _read(config).get(NAMED)) is not None:
        _check_named(config, named, folder, (WEIGHTS, INDEX))
    for index in sorted(folder.rglob(f"*{INDEX}")):
        shards = _read(index).get("weight_map")
        if not isinstance(shards, dict):
            raise ModelFileError(f"{str(index)!r}: it has no weight_map")
        for shard in dict.fromkeys(map(str, shards.values())):
            _check_named(index, shard, folder, (WEIGHTS,))


def _read(file: Path) -> dict[str, Any]:
    try:
        return SafeFile(file).json(LARGEST_FILE)
    except ModelFileError as error:
        raise ModelFileError(f"{str(file)!r}: it cannot be read: {error}") from None


def _check_named(file: Path, named: Any, folder: Path, suffixes: tuple[str, ...]) -> None:
    path = folder / str(named)
    if not (str(named).endswith(suffixes) and _is_inside(path, folder)):
        raise ModelFileError(
            f"{str(file)!r}: the weights {str(named)!r} aren't a {WEIGHTS} file in the folder; "
            "put them there, in that format"
        )


def _is_inside(path: Path, folder: Path) -> bool:
    """Return True for a path in a folder, symbolic links resolved.

    The files of a snapshot in the cache of Hugging Face are links to the blobs next to it.
    """
    resolved = path.resolve()
    allowed = [folder.resolve()]
    if folder.parent.name == "snapshots" and ".." not in path.relative_to(folder).parts:
        allowed.append((folder.parent.parent / "blobs").resolve())
    return any(resolved.is_relative_to(place) for place in allowed)


def hub_models() -> Iterator[str]:
    """Yield the names of the models in the cache of Hugging Face that have safetensors.

    It needs the package `huggingface_hub`, as the engines do that use the cache.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    for folder in sorted(Path(HF_HUB_CACHE).glob("models--*")):
        if any(folder.glob("snapshots/*/*.safetensors")):
            yield folder.name.removeprefix("models--").replace("--", "/")
