"""Events of a training run. The command line shows them; a script may ignore them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corelm.training.losses import LossHistory


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
