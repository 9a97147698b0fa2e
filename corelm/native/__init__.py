"""Kernels in C for the functions that decoding and sampling spend their time on.

Each does what its definition does in NumPy, several times as fast. The definitions are the tests'
reference, and run where `kernels` is None: if there was no C compiler when corelm was installed,
if the processor is too old, or with `CORELM_KERNELS=0` in the environment. `README.md` explains the
sources.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from corelm.native.cpu import cpu_limit

if TYPE_CHECKING:
    from corelm.native.interface import Kernels


def _load() -> Kernels | None:
    if os.environ.get("CORELM_KERNELS") == "0":
        return None
    try:
        module = importlib.import_module("corelm.native.kernels")
    except ImportError:  # not compiled, or not for this processor
        from corelm.native.source_tree import note_source_tree  # late: it is rarely needed

        note_source_tree(Path(__file__).parents[2])
        return None
    kernels = cast("Kernels", module)
    kernels.use_cores(cpu_limit())  # no thread starts before the first large job
    return kernels


kernels: Kernels | None = _load()
"""The compiled module, or None."""
