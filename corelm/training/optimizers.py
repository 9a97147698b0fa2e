"""The Keras optimizer of a recipe."""

from __future__ import annotations

from typing import Any

import keras

from corelm.training.presets import Recipe

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises to its peak."""
FINAL = 0.02
"""The learning rate at the last step, as a share of its peak."""
WEIGHT_DECAY = 0.05
UNDECAYED = ["scale", "gamma", "beta", "bias"]
"""Words in the names of variables without weight decay: norms and biases. Keras looks at a
variable's own name only, which doesn't say to which layer it belongs."""


def optimizer(recipe: Recipe, steps: int) -> Any:
    """Return the Keras optimizer of a recipe for a run of this many steps.

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
    muon.exclude_from_weight_decay(var_names=UNDECAYED)
    return muon
