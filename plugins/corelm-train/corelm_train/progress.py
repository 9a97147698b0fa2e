"""Events of a training run, and sentences for beginners about its plan and its losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from corelm.runs import printable


@dataclass(frozen=True)
class TrainingPlan:
    """The size of a run, known before its first step.

    Attributes:
        weights: the number of weights.
        vocabulary: tokens in the vocabulary.
        texts: texts to learn from.
        tokens: target tokens in an epoch, padding left out.
        rows: rows in an epoch.
        steps_per_epoch: batches of rows in an epoch.
        epochs: passes through the rows.
        steps: steps in all.
        steps_done: steps that an interrupted run has already done.
        precision: `float32` or `mixed_bfloat16`.
        preset: the name of the preset.
    """

    weights: int
    vocabulary: int
    texts: int
    tokens: int
    rows: int
    steps_per_epoch: int
    epochs: int
    steps: int
    steps_done: int
    precision: str
    preset: str


class Reporter:
    """Receives the events of a training run. This one ignores them; override what you need."""

    def note(self, text: str) -> None:
        """Called before slow work."""

    def warn(self, text: str) -> None:
        """Called if something is probably unintended; the run continues."""

    def started(self, plan: TrainingPlan) -> None:
        """Called before the first step."""

    def step(self, done: int, total: int, loss: float) -> None:
        """Called after a step; the loss is the mean of this epoch so far, in nats per token."""

    def measured(self, epoch: int, perplexity: float) -> None:
        """Called after an epoch, counted from 1, with its held-out perplexity."""

    def texts(self, epoch: int, texts: dict[float, str]) -> None:
        """Called with the texts that the model wrote after an epoch, by temperature."""

    def finished(self, losses: LossHistory, patience: int) -> None:
        """Called after the last epoch; the weights of the best one become the model."""

    def kept(self, checkpoint: Path, done: int, total: int) -> None:
        """Called if an interrupted run wrote its checkpoint, from which `--resume` continues."""


LARGEST_LOSS = 100.0
"""The loss in nats per token that replaces one that isn't a number, so that other epochs are
better."""


@dataclass(frozen=True)
class LossHistory:
    """The mean losses of each epoch, in nats per token.

    Attributes:
        training: the losses on the training rows; None if an interruption lost one.
        held_out: the losses on held-out texts.

    Example:
        >>> losses = LossHistory([4.0, 3.0, 2.0, 1.0], [4.1, 3.5, 3.6, 3.9])
        >>> losses.epochs, losses.best_epoch, losses.epochs_since_best
        (4, 2, 2)
    """

    training: list[float | None] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """The number of epochs that were measured."""
        return len(self.held_out)

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest held-out loss, counted from 1; 0 before the first."""
        return self.held_out.index(min(self.held_out)) + 1 if self.held_out else 0

    @property
    def epochs_since_best(self) -> int:
        """The number of epochs in which the held-out loss did not improve."""
        return self.epochs - self.best_epoch

    def followed_by(self, training: float | None, held_out: float) -> LossHistory:
        """Return the history with one more epoch; a loss that isn't a number is the worst one."""
        if training is not None and not math.isfinite(training):
            training = None
        held_out = held_out if math.isfinite(held_out) else LARGEST_LOSS  # JSON has no nan
        return LossHistory([*self.training, training], [*self.held_out, held_out])


LITTLE_TEXT = 50_000
"""Below this number of tokens, each preset soon memorised texts of a toy grammar."""

FEW_STEPS = 100
"""The fewest steps without a warning: most presets were best after more steps on such texts."""

FLAT = 0.02
"""In nats per token (2 % of the perplexity): a held-out loss that rises by less is called flat."""

FEW_TEXTS = 10
"""The fewest held-out texts without a warning: a mean over fewer depends much on the choice of
texts."""


def before_training(plan: TrainingPlan, held_out: int) -> list[str]:
    """Return warnings about the size of a training.

    Args:
        plan: its size.
        held_out: the number of held-out texts.
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
    """Return sentences about the epoch that is kept and the reason; none for a single epoch."""
    if losses.epochs < 2:
        return []
    if losses.epochs_since_best == 0:
        return ["the held-out loss still fell in the last epoch: more --epochs may help"]
    best = min(losses.held_out)
    is_flat = max(losses.held_out[losses.best_epoch :]) - best < FLAT
    after = "held-out loss hardly changed" if is_flat else "network learned its texts by heart"
    choice = (
        f"kept the weights of epoch {losses.best_epoch}, with a held-out perplexity of "
        f"{math.exp(best):.1f}: after it the {after}"
    )
    if losses.epochs_since_best < patience:
        return [choice]
    epochs = printable.counted(patience, "epoch")
    return [f"stopped, because the held-out loss has not improved for {epochs}", choice]
