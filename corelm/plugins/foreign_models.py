"""Recognise the models of other engines by their files, to name the scheme that opens them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from corelm.plugins.registry import registry


class _Format(NamedTuple):
    """The format of an engine's models: a phrase for it, the scheme and its package."""

    phrase: str
    scheme: str
    package: str


_GGUF = _Format("a file of llama.cpp", "gguf", "corelm-llama-cpp")
_TRANSFORMERS = _Format("a folder of transformers", "transformers", "corelm-transformers")
_KERAS_HUB = _Format("a preset of KerasHub", "keras_hub", "corelm-keras-hub")


def way_to_open(path: str | os.PathLike[str]) -> str | None:
    """Return how to open a model of another engine; None for every other path.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        ...     way = way_to_open(file.name)
        >>> way.partition(file.name)[2].partition("gguf:")[0]
        ' is a file of llama.cpp: open it as '
    """
    place = Path(path).expanduser()
    found = _format_of(place)
    if found is None:
        return None
    way = f"{os.fspath(path)} is {found.phrase}: open it as {found.scheme}:{os.fspath(path)}"
    if any(source.entry_point == found.scheme for source in registry().sources()):
        return way
    return f"{way}, after installing {found.package}"


def _format_of(place: Path) -> _Format | None:
    try:
        if place.suffix.lower() == ".gguf" and place.is_file():
            return _GGUF
        # A model of corelm has a config.json too, next to its manifest.
        if not (place / "config.json").is_file() or (place / "manifest.json").is_file():
            return None
        return _KERAS_HUB if (place / "task.json").is_file() else _TRANSFORMERS
    except (OSError, ValueError):  # a name that no file can have
        return None
