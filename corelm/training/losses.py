"""The losses of a training by epoch, and which epoch is the best one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

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
