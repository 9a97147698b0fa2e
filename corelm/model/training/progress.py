"""What training tells of itself. The command line shows it; a script may leave it silent."""

from __future__ import annotations


class Reporter:
    """Receives what happens during training; this one ignores it all."""

    def note(self, text: str) -> None:
        """Something slow begins."""

    def step(self, done: int, total: int, loss: float) -> None:
        """A step is done; the loss is the mean of this epoch so far, nats per token."""

    def measured(self, epoch: int, perplexity: float) -> None:
        """An epoch, counted from 1, ended with this held-out perplexity."""

    def texts(self, epoch: int, texts: dict[float, str]) -> None:
        """What the model writes after this epoch, by temperature."""
