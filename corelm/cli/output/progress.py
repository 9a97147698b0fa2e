"""Progress bars, and lines where no bar can move, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from corelm.cli.output import messages, terminal

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["bar_moves", "bars_of", "stages"]


def bar_moves() -> bool:
    """Return True if standard error can show a moving bar."""
    return sys.stderr is not None and not terminal.is_plain(sys.stderr)


@contextmanager
def stages(counted: str = "bytes") -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a function that shows the stages of a task: a bar for each, or a line.

    Args:
        counted: the unit; "bytes" are shown as sizes, everything else as a percentage.
    """
    if not bar_moves():
        yield _StageLines()
        return
    from rich import progress as p

    count = p.DownloadColumn() if counted == "bytes" else p.TaskProgressColumn()
    with bars_of(p.BarColumn(), count, p.TimeRemainingColumn()) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def bars_of(*columns: Any) -> Progress:
    """Return progress bars with these columns, on standard error."""
    from rich.progress import Progress, TextColumn

    console = terminal.console_for(sys.stderr)
    return Progress(TextColumn("{task.description}"), *columns, console=console, transient=True)


class _StageLines:
    """A writer of one line for each stage that begins."""

    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if stage != self._stage:  # a log needs no line for each percent
            self._stage = stage
            messages.note(f"{stage} ...")
