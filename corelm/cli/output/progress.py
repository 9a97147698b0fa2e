"""How far something long has come, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from corelm.cli.output import messages, terminal
from corelm.model.training.progress import Reporter

if TYPE_CHECKING:
    from rich.progress import Progress

LINES = 20
"""Lines about steps in a whole training, where no bar can move."""


def _moves() -> bool:
    """Whether standard error can show a bar that moves."""
    return sys.stderr is not None and not terminal.is_plain(sys.stderr)


@contextmanager
def stages(counted: str = "bytes") -> Iterator[Callable[[str, int, int | None], None]]:
    """What a task that has stages tells: a bar for each, or a line where none moves.

    Args:
        counted: what it counts; anything but bytes is told as a share of the whole.
    """
    if not _moves():
        yield _StageLines()
        return
    from rich import progress as p

    count = p.DownloadColumn() if counted == "bytes" else p.TaskProgressColumn()
    with _bars(p.BarColumn(), count, p.TimeRemainingColumn()) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


@contextmanager
def training_report() -> Iterator[Reporter]:
    """What training tells: a bar with the time left, and the texts after each epoch."""
    if not _moves():
        yield _TrainingLines()
        return
    from rich import progress as p

    loss = p.TextColumn("loss {task.fields[loss]}")
    with _bars(p.BarColumn(), p.MofNCompleteColumn(), loss, p.TimeRemainingColumn()) as bars:
        yield _TrainingBar(bars)


def _bars(*columns: Any) -> Progress:
    from rich.progress import Progress, TextColumn

    console = terminal.console_for(sys.stderr)
    return Progress(TextColumn("{task.description}"), *columns, console=console, transient=True)


class _StageLines:
    """One line when a stage begins."""

    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if stage != self._stage:
            self._stage = stage
            messages.note(f"{stage} ...")


class _TrainingLines(Reporter):
    """Training, told in lines."""

    def __init__(self) -> None:
        self._began: tuple[int, float] | None = None

    def note(self, text: str) -> None:
        messages.note(f"{text} ...")

    def step(self, done: int, total: int, loss: float) -> None:
        first, began = self._began = self._began or (done, time.monotonic())
        if done % max(total // LINES, 1) == 0:
            left = (time.monotonic() - began) * (total - done) / max(done - first, 1)
            messages.note(f"step {done} of {total}, loss {loss:.3f}, {_minutes(left)} left")

    def measured(self, epoch: int, perplexity: float) -> None:
        messages.note(f"epoch {epoch}: held-out perplexity {perplexity:.1f}")

    def texts(self, epoch: int, texts: dict[float, str]) -> None:
        for temperature, text in texts.items():
            messages.tell(f"t={temperature:g}: {text}")


class _TrainingBar(_TrainingLines):
    """Training, told with a bar for its steps."""

    def __init__(self, bars: Progress) -> None:
        super().__init__()
        self._bars = bars
        self._task: Any = None

    def step(self, done: int, total: int, loss: float) -> None:
        if self._task is None:
            self._task = self._bars.add_task("training", total=total, loss="")
        self._bars.update(self._task, completed=done, loss=f"{loss:.3f}")


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
