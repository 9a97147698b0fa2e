"""Progress bars, and lines where no bar can move, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from corelm.cli.output import streams

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

__all__ = ["stages"]

WARM_UP = 5
"""The steps of a stage before its time is estimated: the first ones may load or compile."""


class ShowStage(Protocol):
    """A function that shows how far a stage of a task is."""

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        """Show a stage.

        Args:
            stage: its name.
            done: the finished units of it.
            total: all its units; None if their number is unknown.
            note: a short text beside the count, such as a loss.
        """


def bar_moves() -> bool:
    """Return True if standard error can show a moving bar."""
    return sys.stderr is not None and not streams.is_plain(sys.stderr)


@contextmanager
def stages(counted: str = "bytes", lines: int = 0) -> Iterator[ShowStage]:
    """Yield a function that shows the stages of a task: a bar for each, or lines.

    Args:
        counted: the unit; "bytes" are shown as sizes, everything else as a share of the total.
        lines: where no bar can move, the number of lines for each stage, with the time left; 0 for
            one line when it begins.
    """
    if not bar_moves():
        yield _Lines(counted, lines)
        return
    from rich import progress

    count: ProgressColumn = progress.DownloadColumn()
    if counted != "bytes":
        count = progress.MofNCompleteColumn() if lines else progress.TaskProgressColumn()
    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        count,
        progress.TextColumn("{task.fields[note]}", markup=False),
        progress.TimeRemainingColumn(),
        console=streams.console_for(sys.stderr),
        transient=True,
    ) as shown:
        yield _Bars(shown)


class _Bars:
    """A bar for each stage."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._shown.add_task(stage, total=total, note=note)
        self._shown.update(self._tasks[stage], completed=done, total=total, note=note)


class _Lines:
    """Lines in place of bars: one for each stage that begins, or some as it goes on."""

    def __init__(self, counted: str, lines: int) -> None:
        self._counted, self._lines = counted, lines
        self._stage = ""
        self._first = 0, 0.0

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage != self._stage:
            self._stage = stage
            self._first = done, time.monotonic()
            if not self._lines:  # a log needs no line for each percent
                streams.tell(f"{stage} ...", "note")
        if self._lines and total is not None:
            self._count(done, total, note)

    def _count(self, done: int, total: int, note: str) -> None:
        first, began = self._first
        left = ""
        if done > first:
            seconds = (time.monotonic() - began) / (done - first) * (total - done)
            left = f"{duration(seconds)} left"
        if done - first == WARM_UP and total > done + self._lines:
            streams.tell(f"about {left}", "note")
        if done % -(-total // self._lines) == 0:
            parts = (f"{self._counted} {done} of {total}", note, left)
            streams.tell(", ".join(filter(None, parts)), "note")


def duration(seconds: float) -> str:
    """Format a time as minutes and seconds, such as 12:05, or hours, such as 3 h 20 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
