"""Show a training run: a summary, a bar with the time left, the texts, and how to continue."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from corelm.commands import messages, progress
from corelm_train.progress import LossHistory, Reporter, TrainingPlan, after_training

if TYPE_CHECKING:
    from rich.progress import Progress

WIDTH, HEIGHT = 60, 8
"""The columns and lines of the loss curve, without its axes."""
WIDEST_STEP = 6
"""The most columns from one epoch to the next."""
LEGEND = "loss by epoch, in nats per token: o held-out, . training, * kept"

LINES = 20
"""The number of progress lines in a training run, if no bar can move."""
WARM_UP = 5
"""The number of steps before the time is estimated; the first ones compile the network."""


@contextmanager
def training_report() -> Iterator[TrainingLines]:
    """Yield a reporter for training: a bar with the time left, and the texts of each epoch."""
    with _interruptible() as interrupt, progress.bars(_columns) as bars:
        yield TrainingLines(interrupt) if bars is None else _TrainingBar(interrupt, bars)


def _columns(p: Any) -> tuple[Any, ...]:
    loss = p.TextColumn("loss {task.fields[loss]}")
    return p.BarColumn(), p.MofNCompleteColumn(), loss, p.TimeRemainingColumn()


class Interrupt:
    """The state of Ctrl-C: pressed or not."""

    def __init__(self) -> None:
        self.pressed = False

    def check(self) -> None:
        """Raise KeyboardInterrupt after Ctrl-C, which TensorFlow's import may have swallowed."""
        if self.pressed:
            raise KeyboardInterrupt


@contextmanager
def _interruptible() -> Iterator[Interrupt]:
    """Confirm Ctrl-C at once, as a step and a checkpoint may take seconds."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    earlier = signal.getsignal(signal.SIGINT)

    def acknowledge(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, earlier)  # a second Ctrl-C does not wait
        interrupt.pressed = True
        with contextlib.suppress(RuntimeError):  # the signal interrupted another message
            messages.tell("stopping; this may take a moment ...")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, acknowledge)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, earlier)


class TrainingLines(Reporter):
    """A reporter that writes lines.

    Attributes:
        checkpoint: the checkpoint of an interrupted run, once it is saved.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        self.checkpoint: Path | None = None
        self._interrupt = interrupt
        self._first: tuple[int, float] | None = None

    def note(self, text: str) -> None:
        self._interrupt.check()
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
        self._interrupt.check()
        first, began = self._first = self._first or (done, time.monotonic())
        left = ""
        if done > first:
            seconds = (time.monotonic() - began) / (done - first) * (total - done)
            left = f"{duration(seconds)} left"
        if done - first == WARM_UP and total > done + LINES:
            messages.tell(f"about {left}", "note")
        self._show_step(done, total, loss, left)

    def _show_step(self, done: int, total: int, loss: float, left: str) -> None:
        if done % -(-total // LINES) == 0:
            text = f"step {done} of {total}, loss {loss:.3f}"
            messages.tell(f"{text}, {left}" if left else text, "note")

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


class _TrainingBar(TrainingLines):
    """A reporter that shows steps with a bar."""

    def __init__(self, interrupt: Interrupt, bars: Progress) -> None:
        super().__init__(interrupt)
        self._bars = bars
        self._task: Any = None

    def step(self, done: int, total: int, loss: float) -> None:
        if self._task is None:
            self._task = self._bars.add_task("training", total=total, loss="")
        self._bars.update(self._task, completed=done, loss=f"{loss:.3f}")
        super().step(done, total, loss)

    def _show_step(self, done: int, total: int, loss: float, left: str) -> None:
        """Write nothing: the bar shows the steps."""


def duration(seconds: float) -> str:
    """Format a time as minutes and seconds, such as 12:05, or hours, such as 3 h 20 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


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
