"""Python programs: run in processes of their own, or loaded from files that are in no package."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any


def python(
    *words: str | Path, env: Mapping[str, str] = MappingProxyType({}), **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run Python with some arguments; `env` is added to this process's environment."""
    options = {"capture_output": True, "text": True, "timeout": 600} | options
    return subprocess.run([sys.executable, *words], env={**os.environ, **env}, **options)


def load_program(path: Path) -> ModuleType:
    """Return the module of a program that is in no package, without running its `main`."""
    # No package has such a name: a program may be called as one, such as coverage.
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
