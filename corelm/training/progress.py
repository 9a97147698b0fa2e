"""Events of a training run. The command line shows them; a script may ignore them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class TrainingPlan:
    """The size of a run, known before its first step.

    Attributes:
        weights: numbers that are learned.
        vocabulary: tokens in the vocabulary.
        texts: texts to learn from.
        tokens: target tokens in an epoch, padding left out.
        rows: rows in an epoch.
        steps_per_epoch: batches of rows in an epoch.
        epochs: passes through the rows.
        steps: steps in all.
        steps_done: steps that an interrupted run has done before.
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
        """Something slow begins."""

    def warn(self, text: str) -> None:
        """Something is probably unintended, and the run continues."""

    def started(self, plan: TrainingPlan) -> None:
        """Everything is ready, and the first step comes next."""

    def step(self, done: int, total: int, loss: float) -> None:
        """A step is done; the loss is the mean of this epoch so far, in nats per token."""

    def measured(self, epoch: int, perplexity: float) -> None:
        """An epoch, counted from 1, ended with this held-out perplexity."""

    def texts(self, epoch: int, texts: dict[float, str]) -> None:
        """The model wrote these texts after this epoch, by temperature."""

    def finished(self, losses: LossHistory, patience: int) -> None:
        """The last epoch is done; the weights of the best one become the model."""

    def kept(self, checkpoint: Path, done: int, total: int) -> None:
        """An interrupted run wrote its checkpoint, from which `--resume` continues."""


LARGEST_LOSS = 100.0
"""Nats per token; stands for a loss that isn't a number, so that any other epoch is better."""


@dataclass(frozen=True)
class LossHistory:
    """The mean losses of each epoch, in nats per token.

    Attributes:
        training: on the rows that the network learns from; None if an interruption lost it.
        held_out: on texts that it does not learn from.

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
