"""Sentences for beginners about a training: before its first step, and after its last."""

from __future__ import annotations

import math

from corelm.toolkit import counted
from corelm.training.progress import LossHistory, TrainingPlan

LITTLE_TEXT = 50_000
"""Tokens; with fewer, each preset soon knew the toy texts of tests/benchmarks/own_text.py."""

FEW_STEPS = 100
"""Steps; most presets were best after more on the toy texts."""

FLAT = 0.02
"""Nats per token, 2 % of the perplexity; a held-out loss that rises less is called flat."""

FEW_TEXTS = 10
"""Held-out texts; the mean loss of fewer changes much with the texts that are drawn."""


def before_training(plan: TrainingPlan, held_out: int) -> list[str]:
    """Return warnings about the size of a training.

    Args:
        plan: its size.
        held_out: the number of texts that it is measured on.
    """
    warnings = []
    if plan.tokens < LITTLE_TEXT:
        warnings.append(
            f"this is little text ({plan.tokens:,} tokens): the network soon knows it by heart and "
            f"repeats it; {LITTLE_TEXT:,} tokens or more are better"
        )
    if plan.steps < FEW_STEPS:
        epochs = math.ceil(FEW_STEPS / plan.steps_per_epoch)
        warnings.append(
            f"{plan.steps:,} steps are too few for a network to learn much; "
            f"try at least --epochs {epochs}"
        )
    if held_out < FEW_TEXTS:
        texts = "text is" if held_out == 1 else "texts are"
        warnings.append(
            f"only {held_out} {texts} held out to measure on, so the perplexity is a rough figure; "
            "hold out more with --held-out 0.2"
        )
    return warnings


def after_training(losses: LossHistory, patience: int) -> list[str]:
    """Return sentences about the epoch that is kept, and why; none for a single epoch."""
    if losses.epochs < 2:
        return []
    if losses.epochs_since_best == 0:
        return ["the held-out loss still fell in the last epoch: more --epochs may help"]
    best = min(losses.held_out)
    is_flat = max(losses.held_out[losses.best_epoch :]) - best < FLAT
    after = "held-out loss hardly changed" if is_flat else "network learned its texts by heart"
    kept = (
        f"kept the weights of epoch {losses.best_epoch}, with a held-out perplexity of "
        f"{math.exp(best):.1f}: after it the {after}"
    )
    if losses.epochs_since_best < patience:
        return [kept]
    epochs = counted(patience, "epoch")
    return [f"stopped, because the held-out loss has not improved for {epochs}", kept]
