"""Modules whose public names are imported on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Mapping
from typing import Any


class OnFirstUse:
    """The `__getattr__` of a module that imports its names when they are first used.

    Args:
        module: the name of the module.
        homes: the modules that define the names, each with its own.
        modules: the modules among the names.

    Example:
        >>> find = OnFirstUse("corelm.lazy", {"math": ["pi", "tau"]}, {"shell": "shlex"})
        >>> find("tau"), find("shell").__name__
        (6.283185307179586, 'shlex')
    """

    def __init__(
        self,
        module: str,
        homes: Mapping[str, Collection[str]],
        modules: Mapping[str, str] | None = None,
    ) -> None:
        self._module, self.modules = module, dict(modules or {})
        self.homes = {name: home for home, names in homes.items() for name in names}

    def __call__(self, name: str) -> Any:
        if name in self.modules:
            value: Any = importlib.import_module(self.modules[name])
        elif name in self.homes:
            value = getattr(importlib.import_module(self.homes[name]), name)
        else:
            raise AttributeError(f"module {self._module!r} has no attribute {name!r}")
        setattr(sys.modules[self._module], name, value)
        return value
