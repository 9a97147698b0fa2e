"""The machine, for measurements and for the provenance of texts and models."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from corelm import native
from corelm.native.cpu import cpu_limit

__all__ = ["facts"]

SAME_BITS = ("platform", "kernels", "vector_width")
"""The facts that decide the last bits of a result."""


def facts(same_bits: bool = False) -> dict[str, Any]:
    """Return the hardware, the versions and the build.

    Args:
        same_bits: only the facts that decide the last bits of a result: `platform`, `kernels` and
            `vector_width`.

    Keys:
        processor: its name.
        cores: the threads that corelm may use: CORELM_THREADS, or the processors that the system
            and the quota of a container leave to this process, which `os.cpu_count()` ignores.
        platform: the system and the instruction set, such as `Linux x86_64`.
        python, numpy: versions.
        kernels: True if the compiled kernels are in use.
        vector_width: the floats in one of their vectors, 8 or 16; None without kernels.
    """
    found = {
        "processor": _processor(),
        "cores": cpu_limit(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernels": native.kernels is not None,
        "vector_width": _vector_width(),
    }
    return {name: found[name] for name in SAME_BITS} if same_bits else found


def _processor() -> str:
    """Return the name of the processor, or the best that the system offers."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system, or a container without it
        lines = []
    names = (s.partition(":")[2].strip() for s in lines if "model name" in s)
    return next(names, platform.processor() or platform.machine())


def _vector_width() -> int | None:
    """Return the number of floats in a vector of the kernels, 8 or 16; None without kernels."""
    # Asking for 16, the default, changes nothing and returns the width in use.
    return None if native.kernels is None else int(native.kernels.use_vector_width(16))
