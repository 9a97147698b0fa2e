"""The scripts of `tests/benchmarks` as modules, for their tests."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from programs import load_program

BENCHMARKS = Path(__file__).parent / "benchmarks"


def script(name: str) -> ModuleType:
    """One of them."""
    return load_program(BENCHMARKS / f"{name}.py")
