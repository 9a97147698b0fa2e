"""The number format that training computes in."""

from __future__ import annotations

from corelm.errors import UsageError
from corelm.toolkit import processor_flags

PRECISIONS = ("float32", "mixed_bfloat16")

BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""Instructions that multiply bfloat16 on x86 (the first two) and on ARM (the last)."""


def choose_precision(wanted: str, kept: str | None = None) -> str:
    """Return the Keras dtype policy of a run.

    A choice by stopwatch would give one command two models on a busy machine, and refuse its own
    checkpoint. So `auto` depends on the processor alone, and a resumed run keeps its first choice.

    Args:
        wanted: `float32`, `mixed_bfloat16` or `auto`.
        kept: the precision of the checkpoint that is resumed.

    Raises:
        UsageError: any other name.

    Example:
        >>> choose_precision("auto", kept="float32")
        'float32'
    """
    if wanted in PRECISIONS:
        return wanted
    if wanted != "auto":
        raise UsageError(f"precision is auto, float32 or mixed_bfloat16, not {wanted!r}")
    if kept in PRECISIONS:
        return str(kept)
    return "mixed_bfloat16" if processor_flags() & BFLOAT16_FLAGS else "float32"
