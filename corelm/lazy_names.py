"""Names of a public module that are imported from their homes on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any


def find(module: str, homes: Mapping[str, str], name: str) -> Any:
    """Return a public name, and keep it in its module.

    Args:
        module: the public module.
        homes: where each of its names is: `module:attribute`, or the module that is the value.
        name: the name.

    Raises:
        AttributeError: the module has no such name.

    Example:
        >>> find(__name__, {"ceil": "math:ceil"}, "ceil")(1.5)
        2
    """
    if name not in homes:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    home, _, attribute = homes[name].partition(":")
    found: Any = importlib.import_module(home)
    value = getattr(found, attribute) if attribute else found
    setattr(sys.modules[module], name, value)
    return value
