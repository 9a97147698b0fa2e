"""The number format that training computes in."""

from __future__ import annotations

import time

import tensorflow as tf

from corelm.errors import UsageError


def precision(wanted: str) -> str:
    """`auto` is bfloat16 where this processor multiplies it faster than float32."""
    if wanted in ("float32", "mixed_bfloat16"):
        return wanted
    if wanted != "auto":
        raise UsageError(f"precision is auto, float32 or mixed_bfloat16, not {wanted!r}")
    fast = _product_seconds("bfloat16") < 0.8 * _product_seconds("float32")
    return "mixed_bfloat16" if fast else "float32"


def _product_seconds(dtype: str) -> float:
    matrix = tf.cast(tf.random.stateless_normal((1024, 1024), (0, 0)), dtype)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
