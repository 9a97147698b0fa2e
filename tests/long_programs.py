"""The programs of `tests/long`, for the tests that run a sample of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def long_program(name: str) -> ModuleType:
    """Return the module of a program, without running its `main`."""
    path = Path(__file__).parent / "long" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
