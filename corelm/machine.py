"""The machine, for measurements and for the provenance of texts and models."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from corelm import native
from corelm.native.cpu import cpu_limit

__all__ = ["SAME_BITS", "cpu_limit", "facts", "platform_name", "processor_flags"]

SAME_BITS = ("platform", "kernels", "vector_width")
"""The facts that decide the last bits of a result."""


def platform_name() -> str:
    """Return the system and the instruction set, such as `Linux x86_64`."""
    return f"{platform.system()} {platform.machine()}"


def facts() -> dict[str, Any]:
    """Return the hardware, the versions and the build, all of which can decide the last bits.

    Keys:
        processor: its name.
        cores: the threads that corelm uses.
        platform: the system and the instruction set.
        python, numpy: versions.
        kernels: True if the compiled kernels are in use.
        vector_width: the floats in one of their vectors, 8 or 16; None without kernels.
    """
    return {
        "processor": _processor(),
        "cores": cpu_limit(),
        "platform": platform_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernels": native.kernels is not None,
        "vector_width": native.vector_width(),
    }


def processor_flags() -> frozenset[str]:
    """Return the instruction sets of the processor as Linux names them; elsewhere none."""
    lines = _cpuinfo()
    flags = (s.partition(":")[2] for s in lines if s.startswith(("flags", "Features")))
    return frozenset(next(flags, "").split())


def _processor() -> str:
    """Return the name of the processor, or the best that the system offers."""
    names = (s.partition(":")[2].strip() for s in _cpuinfo() if "model name" in s)
    return next(names, platform.processor() or platform.machine())


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system, or a container without it
        return []
