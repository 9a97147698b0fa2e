"""The programs of `tests/long`, for the tests that run a sample of them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from programs import load_program


def long_program(name: str) -> ModuleType:
    """Return the module of a program."""
    return load_program(Path(__file__).parent / "long" / f"{name}.py")
