"""Show a training run: a summary, a bar with the time left, the texts, and how to continue."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from corelm.commands import messages
from corelm_train.progress import LossHistory, Reporter, TrainingPlan, after_training

WIDTH, HEIGHT = 60, 8
"""The columns and lines of the loss curve, without its axes."""
WIDEST_STEP = 6
"""The most columns from one epoch to the next."""
LEGEND = "loss by epoch, in nats per token: o held-out, . training, * kept"

LINES = 20
"""The number of progress lines in a training run, if no bar can move."""


@contextmanager
def training_report() -> Iterator[TrainingReport]:
    """Yield a reporter for training: a bar with the time left, and the texts of each epoch."""
    with _interruptible() as interrupt, messages.stages("step", lines=LINES) as show:
        yield TrainingReport(interrupt, show)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Confirm Ctrl-C at once, as a step and a checkpoint may take seconds."""
    interrupt = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    earlier = signal.getsignal(signal.SIGINT)

    def acknowledge(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, earlier)  # a second Ctrl-C does not wait
        interrupt.set()
        with contextlib.suppress(RuntimeError):  # the signal interrupted another message
            messages.tell("stopping; this may take a moment ...")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, acknowledge)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, earlier)


class TrainingReport(Reporter):
    """A reporter that writes to standard error.

    Args:
        interrupt: set after Ctrl-C, which TensorFlow's import may have swallowed.
        show: shows a stage, its finished steps, all its steps and a note.

    Attributes:
        checkpoint: the checkpoint of an interrupted run, once it is saved.
    """

    def __init__(
        self, interrupt: threading.Event, show: Callable[[str, int, int, str], None]
    ) -> None:
        self.checkpoint: Path | None = None
        self._interrupt, self._show = interrupt, show

    def _check(self) -> None:
        if self._interrupt.is_set():
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self._check()
        messages.tell(f"{text} ...", "note")

    def warn(self, text: str) -> None:
        messages.tell(text, "warning")

    def started(self, plan: TrainingPlan) -> None:
        begin = f", {plan.steps_done:,} of them done" if plan.steps_done else ""
        messages.tell(
            f"training {plan.weights:,} weights in {plan.precision} on {plan.tokens:,} tokens of "
            f"{plan.texts:,} texts: {plan.epochs:,} x {plan.steps_per_epoch:,} steps{begin} "
            f"(preset {plan.preset})"
        )

    def kept(self, checkpoint: Path, done: int, total: int) -> None:
        self.checkpoint = checkpoint
        messages.tell(f"stopped after step {done:,} of {total:,}; kept {checkpoint}")

    def step(self, done: int, total: int, loss: float) -> None:
        self._check()
        self._show("training", done, total, f"loss {loss:.3f}")

    def measured(self, epoch: int, perplexity: float) -> None:
        messages.tell(f"epoch {epoch}: held-out perplexity {perplexity:.1f}", "note")

    def finished(self, losses: LossHistory, patience: int) -> None:
        if losses.epochs > 1:
            messages.tell("\n".join(loss_curve(losses)), "picture")
        for sentence in after_training(losses, patience):
            messages.tell(sentence)

    def texts(self, epoch: int, texts: dict[float, str]) -> None:
        for temperature, text in texts.items():
            messages.tell(f"t={temperature:g}: {text}")


def loss_curve(losses: LossHistory) -> list[str]:
    """Draw the losses as lines of text: epochs from left to right, high losses at the top.

    Example:
        >>> for line in loss_curve(LossHistory([4.0, 2.0, 1.0], [4.0, 2.0, 3.0]))[1:4]:
        ...     print(line)
          4.00 |o
               |
               |            o
    """
    epochs = losses.epochs
    step = min(WIDEST_STEP, (WIDTH - 1) / max(epochs - 1, 1))
    values = [loss for loss in [*losses.training, *losses.held_out] if loss is not None]
    low, high = min(values), max(values)
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
