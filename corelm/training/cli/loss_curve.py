"""The losses of a training as a small picture of plain characters."""

from __future__ import annotations

from collections.abc import Iterable

from corelm.training.losses import LossHistory

WIDTH, HEIGHT = 60, 8
"""Columns and lines of the picture, without its axes."""

WIDEST_STEP = 6
"""Columns from one epoch to the next, at most."""

LEGEND = "loss by epoch, in nats per token: o held-out, . training, * kept"


def loss_curve(losses: LossHistory) -> list[str]:
    """Return the lines of a picture: the epochs from left to right, high losses at the top.

    Example:
        >>> for line in loss_curve(LossHistory([4.0, 2.0, 1.0], [4.0, 2.0, 3.0]))[1:4]:
        ...     print(line)
          4.00 |o
               |
               |            o
    """
    epochs = losses.epochs
    step = min(WIDEST_STEP, (WIDTH - 1) / max(epochs - 1, 1))
    known = [loss for loss in [*losses.training, *losses.held_out] if loss is not None]
    low, high = min(known), max(known)
    lines = [[" "] * (round((epochs - 1) * step) + 1) for _ in range(HEIGHT)]

    def draw(points: Iterable[tuple[int, float | None]], mark: str) -> None:
        for epoch, loss in points:
            if loss is not None:
                height = (high - loss) / (high - low or 1.0)
                lines[round(height * (HEIGHT - 1))][round(epoch * step)] = mark

    draw(enumerate(losses.training), ".")
    draw(enumerate(losses.held_out), "o")
    draw([(losses.best_epoch - 1, min(losses.held_out))], "*")
    labels = [f"{high:6.2f}", *[" " * 6] * (HEIGHT - 2), f"{low:6.2f}"]
    picture = [f"{label} |{''.join(line)}" for label, line in zip(labels, lines, strict=True)]
    axis = f"1{epochs:>{len(lines[0]) - 1}}" if epochs > 1 else "1"
    rows = [*picture, f"{' ' * 6} +{'-' * len(lines[0])}", f"{' ' * 8}{axis}"]
    return [LEGEND, *(row.rstrip() for row in rows)]
