"""Modules whose public names are imported on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def on_first_use(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module that imports its names when they are first used.

    Args:
        module: the name of the module.
        homes: the home of each name: a module and the attribute in it, or a module alone.

    Example:
        >>> find = on_first_use("corelm.lazy_names", {"tau": "math:tau", "shell": "shlex"})
        >>> find("tau"), find("shell").__name__
        (6.283185307179586, 'shlex')
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = homes[name].partition(":")
        found: Any = importlib.import_module(home)
        value = getattr(found, attribute) if attribute else found
        setattr(sys.modules[module], name, value)
        return value

    return find
