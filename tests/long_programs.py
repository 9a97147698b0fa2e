"""The programs of `tests/long`, for the tests that run a sample of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from programs import load_program


def long_program(name: str) -> ModuleType:
    """Return the module of a program, which may import its neighbours."""
    folder = Path(__file__).parent / "long"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return load_program(folder / f"{name}.py")
