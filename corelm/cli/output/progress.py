"""Progress bars, and lines where no bar can move, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from corelm.cli.output import streams

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["bars", "stages"]


def bar_moves() -> bool:
    """Return True if standard error can show a moving bar."""
    return sys.stderr is not None and not streams.is_plain(sys.stderr)


@contextmanager
def stages(counted: str = "bytes") -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a function that shows the stages of a task: a bar for each, or a line.

    Args:
        counted: the unit; "bytes" are shown as sizes, everything else as a percentage.
    """

    def columns(p: Any) -> tuple[Any, ...]:
        count = p.DownloadColumn() if counted == "bytes" else p.TaskProgressColumn()
        return p.BarColumn(), count, p.TimeRemainingColumn()

    with bars(columns) as shown:
        if shown is None:
            yield _StageLines()
            return
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=total)
            shown.update(tasks[stage], completed=done, total=total)

        yield show


@contextmanager
def bars(columns: Callable[[Any], Iterable[Any]]) -> Iterator[Progress | None]:
    """Yield progress bars on standard error; None if it can't show a moving bar.

    Args:
        columns: makes the columns after the description, from the module `rich.progress`, which is
            imported only for a moving bar.
    """
    if not bar_moves():
        yield None
        return
    from rich import progress

    console, text = streams.console_for(sys.stderr), progress.TextColumn("{task.description}")
    with progress.Progress(text, *columns(progress), console=console, transient=True) as shown:
        yield shown


class _StageLines:
    """A writer of one line for each stage that begins."""

    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if stage != self._stage:  # a log needs no line for each percent
            self._stage = stage
            streams.tell(f"{stage} ...", "note")
