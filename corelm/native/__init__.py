"""Kernels in C: what decoding and sampling spend their time on, several times as fast as NumPy.

They do what the functions that call them do in NumPy, which stay as the definition, as the tests'
reference, and for machines on which `kernels` is None: where no C compiler was there when corelm
was installed, where the processor is too old, or where `CORELM_KERNELS=0` is in the environment.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.native.cpu import cpu_limit


def _load() -> ModuleType | None:
    if os.environ.get("CORELM_KERNELS") == "0":
        return None
    try:
        from corelm.native import kernels
    except ImportError:  # not compiled, or not for this processor
        return None
    kernels.use_cores(cpu_limit())
    return kernels


kernels: Any = _load()
"""The module of `kernels.pyi`, or None."""


def vector_width() -> int | None:
    """Return the number of floats in a vector of the kernels, 8 or 16; None without kernels."""
    return None if kernels is None else int(kernels.use_vector_width(16))


def as_rows(logits: NDArray[Any]) -> NDArray[np.float32] | None:
    """The logits as the kernels take them, (batch, vocabulary); None where NumPy has to do it."""
    if kernels is None or logits.dtype != np.float32:
        return None
    if not (logits.flags.c_contiguous and logits.flags.aligned):
        return None
    if not logits.size:
        return None
    return logits if logits.ndim == 2 else logits.reshape(-1, logits.shape[-1])


def new_rows(kernel: str, logits: NDArray[Any], *arguments: Any) -> NDArray[np.float32] | None:
    """What a kernel makes of logits, in their shape; None where NumPy has to do it."""
    rows = as_rows(logits)
    if rows is None:
        return None
    out = np.empty_like(rows)
    getattr(kernels, kernel)(rows, *arguments, out)
    return out.reshape(logits.shape)
