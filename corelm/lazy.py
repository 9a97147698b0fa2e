"""Names of a module that are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def exports(
    module: str, names: Mapping[str, Sequence[str]]
) -> tuple[list[str], Callable[[str], Any]]:
    """Return `__all__` and `__getattr__` of a module that re-exports names of other modules.

    Args:
        module: the name of the module.
        names: the names to re-export, by module.
    """
    place = {name: other for other, some in names.items() for name in some}

    def get(name: str) -> Any:
        if name not in place:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_module(place[name]), name)

    return sorted(place), get
