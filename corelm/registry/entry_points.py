"""Find the entry points of installed packages, much faster than `importlib.metadata`.

Importing that module takes 15 ms, and it then parses all metadata of every package. This one reads
only the files `entry_points.txt` in the folders of `sys.path`. Unusual cases, such as a zip file on
the path or an object in another object's module, are left to `importlib.metadata`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any, NamedTuple

MODULE = re.compile(r"[\w.]+")


class EntryPoint(NamedTuple):
    """A named object of a distribution, such as a plugin; the object is usually a module."""

    name: str
    value: str
    group: str
    distribution: str = "unknown"
    version: str = ""

    def load(self) -> Any:
        """Import the object."""
        if MODULE.fullmatch(self.value):
            return import_module(self.value)
        from importlib import metadata

        return metadata.EntryPoint(self.name, self.value, self.group).load()


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group; the first of equal distributions on the path counts."""
    if not _is_plain_path():
        return _by_importlib(group)
    found, points = set(), []
    for folder in sys.path:
        for info in _infos(folder or "."):
            # `A_b` and `a-b` are one distribution; the one found first hides the other.
            name = re.sub("[-_.]+", "-", info.rpartition(".")[0].partition("-")[0]).lower()
            if name not in found:
                found.add(name)
                points += _points(os.path.join(folder, info), group)
    return points


def _is_plain_path() -> bool:
    """Return True if all distributions lie in folders of the path."""
    # Zip files and eggs hold distributions too, and importlib.metadata reads those.
    files = any(os.path.isfile(place) or place.endswith(".egg") for place in sys.path)
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    return not files and all(map(_reads_folders, finders))


def _reads_folders(finder: Any) -> bool:
    # Dask imports the package importlib_metadata, whose finder takes the place of Python's own.
    return finder is PathFinder or type(finder).__module__ == "importlib_metadata"


def _by_importlib(group: str) -> list[EntryPoint]:
    from importlib import metadata

    return [
        EntryPoint(point.name, point.value, group, point.dist.name, point.dist.version)
        if point.dist
        else EntryPoint(point.name, point.value, group)
        for point in metadata.entry_points(group=group)
    ]


def _infos(folder: str) -> list[str]:
    """Return the names of the metadata folders in a folder of the path."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [name for name in names if name.lower().endswith((".dist-info", ".egg-info"))]


def _points(info: str, group: str) -> list[EntryPoint]:
    pairs = list(_pairs(_lines(os.path.join(info, "entry_points.txt")), group))
    # Few distributions have the group: only their metadata is read for name and version.
    if not pairs:
        return []
    fields = _fields(info)
    release = fields.get("name", "unknown"), fields.get("version", "")
    return [EntryPoint(name, value, group, *release) for name, value in pairs]


def _pairs(lines: list[str], group: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values in one section of a file."""
    section = ""
    for line in map(str.strip, lines):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _fields(info: str) -> dict[str, str]:
    """Return the fields of a distribution's metadata that take one line, by name in lower case."""
    lines = _lines(os.path.join(info, "METADATA")) or _lines(os.path.join(info, "PKG-INFO"))
    # A long description follows the blank line.
    end = lines.index("") if "" in lines else len(lines)
    pairs = (line.partition(":") for line in reversed(lines[:end]))  # the first of a name counts
    return {name.lower(): value.strip() for name, _, value in pairs}


def _lines(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read().splitlines()
    except OSError:
        return []
