"""A report as a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import RenderableType

from corelm.cli.output import blocks
from corelm.reports.document.content import Document, Entry
from corelm.reports.document.figures import TEACHER_FORCED
from corelm.reports.document.lookup import estimate
from corelm.reports.document.summary import summary
from corelm.reports.render import sentences
from corelm.reports.render.columns import (
    BARS,
    NOTHING,
    OverviewColumn,
    overview,
    overview_columns,
)
from corelm.toolkit import one_line

NARROW = 60
"""Columns below which the figures of a sampler are written under it instead of in a table."""
NAME, BAR, GAP = 26, 10, 2
"""The largest width of a name, the width of a full bar, and of the gap between columns."""


def report_table(document: Document, width: int, unicode: bool = True) -> Iterator[RenderableType]:
    """Yield the table, the failures, the settings and the summary.

    Args:
        document: the report.
        width: the number of characters in a line.
        unicode: draw with block characters.
    """
    entries = document.entries
    shown = overview_columns(document)
    if entries and width < NARROW:
        yield _stacked(document)
        yield blocks.line("")
    elif entries:
        chosen = _chosen(document, entries, width, unicode)
        shown = [column.of for column in chosen if column.of]
        yield _table(entries, chosen, width)
        yield blocks.line("")
    for name, reason in sentences.failures(document):
        yield blocks.line(f"{name} failed: {reason}", "red")
    yield blocks.line(sentences.method(document, shown), "dim")
    yield blocks.line(sentences.legend(shown), "dim")
    yield blocks.line("")
    yield blocks.line(summary(document), "bold")


@dataclass(frozen=True)
class _Column:
    """A column of the terminal's table: its priority, its cells with the title first.

    `of` is the column of the overview that it shows; the bars have none.
    """

    priority: int
    cells: list[str]
    of: OverviewColumn | None = None

    @property
    def width(self) -> int:
        return max(map(cell_len, self.cells))


def _table(entries: Sequence[Entry], chosen: Sequence[_Column], width: int) -> RenderableType:
    names = [one_line(entry.label) for entry in entries]
    titles, *lines = zip(["", *names], *(column.cells for column in chosen), strict=True)
    return blocks.figures(titles, lines, widest=_longest(names, width))


def _longest(names: Sequence[str], width: int) -> int:
    return min(max(map(cell_len, names)), max(NAME, width // 3))


def _chosen(
    document: Document, entries: Sequence[Entry], width: int, unicode: bool
) -> list[_Column]:
    """Return the columns that fit: with intervals if all fit so, else the most important ones."""
    room = width - _longest([one_line(entry.label) for entry in entries], width)
    with_intervals = _columns(document, entries, unicode, intervals=True)
    if len(_that_fit(with_intervals, room)) == len(with_intervals):
        return with_intervals
    return _that_fit(_columns(document, entries, unicode, intervals=False), room)


def _columns(
    document: Document, entries: Sequence[Entry], unicode: bool, intervals: bool
) -> list[_Column]:
    """Return all columns, with the bars after the entropies."""
    most = document.bounds.max
    bars = [f"0 to {most:.2f}", *(_bar(entry, most, unicode) for entry in entries)]
    cells = zip(*(cells for _, cells in overview(document, intervals)), strict=True)
    columns = [
        _Column(column.priority, [column.title, *texts], column)
        for column, texts in zip(overview_columns(document), cells, strict=True)
    ]
    first = (at for at, column in enumerate(columns) if column.priority < BARS)
    before = 1 + max(first, default=-1)
    return [*columns[:before], _Column(BARS, bars), *columns[before:]]


def _that_fit(columns: Sequence[_Column], room: int) -> list[_Column]:
    """Return the most important columns that fit, in the order of the table."""
    chosen = []
    for column in sorted(columns, key=lambda column: column.priority):
        room -= GAP + column.width
        if room < 0:
            break
        chosen.append(column)
    return [column for column in columns if column in chosen]


def _bar(entry: Entry, most: float, unicode: bool) -> str:
    """Draw the entropy as a bar that is full at the upper bound; a decoder has none."""
    found = estimate(entry, "entropy", TEACHER_FORCED)
    if found is None:
        return ""
    share = found.value / most if most > 0 else 0.0
    full = round(min(max(share, 0.0), 1.0) * BAR)
    return ("█" if unicode else "#") * full + ("░" if unicode else ".") * (BAR - full)


def _stacked(document: Document) -> RenderableType:
    """Return every sampler with its figures below its name."""
    parts: list[RenderableType] = []
    for name, cells in overview(document):
        named = zip(overview_columns(document), cells, strict=True)
        facts = [f"{column.title} {cell}" for column, cell in named if cell != NOTHING]
        parts += blocks.entry(name, (), ", ".join(facts))
    return blocks.several(parts)
