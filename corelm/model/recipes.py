"""The Keras side of a recipe: its optimizer, and what to compute in."""

from __future__ import annotations

import time
from typing import Any

import keras
import tensorflow as tf

from corelm.errors import UsageError
from corelm.model.presets import Recipe

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises to its peak."""
FINAL = 0.02
"""The learning rate at the last step, as a share of its peak."""
WEIGHT_DECAY = 0.05


def optimizer(recipe: Recipe, steps: int) -> Any:
    """The Keras optimizer of a recipe, for a run of so many steps.

    Source: rmsprop as in the chapter; Muon, Jordan et al. 2024, with the scale of Liu et al.
    2025, arXiv 2502.16982, and a warm-up and cosine (Loshchilov & Hutter 2016, 1608.03983).
    """
    if recipe.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(recipe.learning_rate)
    warm_up = max(round(steps * WARM_UP), 1)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / warm_up,
        max(steps - warm_up, 1),
        alpha=FINAL,
        warmup_target=recipe.learning_rate,
        warmup_steps=warm_up,
    )
    muon = keras.optimizers.Muon(
        rate,
        adam_beta_2=0.98,
        weight_decay=WEIGHT_DECAY,
        adam_weight_decay=WEIGHT_DECAY,
    )
    muon.exclude_from_weight_decay(var_names=["norm"])
    return muon


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
