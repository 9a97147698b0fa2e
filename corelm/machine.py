"""The machine that something was measured or trained on."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from corelm import native
from corelm.native.cpu import cpu_limit


def platform_name() -> str:
    """The system and the kind of processor, such as `Linux x86_64`."""
    return f"{platform.system()} {platform.machine()}"


def machine() -> dict[str, Any]:
    """What a measurement was made on and with."""
    return {
        "processor": _processor(),
        "cores": cpu_limit(),
        "platform": platform_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernels": native.kernels is not None,
    }


def _processor() -> str:
    """Its name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names: Iterator[str] = (s.partition(":")[2].strip() for s in lines if "model name" in s)
    return next(names, platform.processor() or platform.machine())
