"""A report as a table, as wide as the terminal is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import RenderableType

from corelm.cli import blocks
from corelm.cli.terminal import one_line
from corelm.report import tables
from corelm.report.figures import Row, figure, rows
from corelm.report.findings import sentence

NARROW = 60
"""Columns below which the figures of a sampler stand under it, not beside it."""
NAME, BAR, GAP = 26, 10, 2
"""Characters of a name in one line at most, of a whole bar, and between two columns."""
ENTROPY, TO_HUMAN, MASS, SURPRISAL, MORE, DISTINCT, REP, LOOPS = range(len(tables.COLUMNS))
BY_WEIGHT = (ENTROPY, TO_HUMAN, None, SURPRISAL, LOOPS, REP, DISTINCT, MASS, MORE)
"""The columns by their index, first those that have room first; None is that of the bars."""


def reported(document: Row, width: int, unicode: bool = True) -> Iterator[RenderableType]:
    """All there is to show: the table, what failed, how it was measured, the finding.

    Args:
        document: that of a report.
        width: characters in a line.
        unicode: whether there are blocks to draw with.
    """
    named = rows(document)
    if named:
        yield _stacked(document) if width < NARROW else _table(document, named, width, unicode)
        yield blocks.line("")
    for name, reason in tables.failures(document):
        yield blocks.line(f"{name} failed: {reason}", "red")
    yield blocks.line(tables.settings(document), "dim")
    yield blocks.line("")
    yield blocks.line(sentence(document), "bold")


def _table(
    document: Row, named: Sequence[tuple[str, Row]], width: int, unicode: bool
) -> RenderableType:
    longest = min(max(cell_len(one_line(name)) for name, _ in named), NAME)
    most = document["bounds"]["max"]
    columns = _that_fit(document, width - longest)
    bars = [_bar(row, most, unicode) for _, row in named]
    lines = (
        [name, *(bar if column is None else cells[column] for column in columns)]
        for (name, cells), bar in zip(tables.overview(document), bars, strict=True)
    )
    titles = (_title(column, most) for column in columns)
    return blocks.figures(["", *titles], lines, widest=NAME)


def _that_fit(document: Row, room: int) -> list[int | None]:
    """The columns that have room, by their index, in the order of the table; None is the bars."""
    most, chosen = document["bounds"]["max"], []
    cells = [cells for _, cells in tables.overview(document)]
    for column in BY_WEIGHT:
        texts = [_title(column, most), *("" if column is None else row[column] for row in cells)]
        room -= GAP + max([0 if column is not None else BAR, *map(cell_len, texts)])
        if room < 0:
            break
        chosen.append(column)
    order = sorted(i for i in chosen if i is not None)
    return [part for i in order for part in ((i, None) if _bar_after(i, chosen) else (i,))]


def _bar_after(column: int, chosen: Sequence[int | None]) -> bool:
    return column == TO_HUMAN and None in chosen


def _title(column: int | None, most: float) -> str:
    return f"0 to {most:.2f}" if column is None else tables.COLUMNS[column].title


def _bar(row: Row, most: float, unicode: bool) -> str:
    """The entropy as a bar, whole at its upper bound."""
    found = figure(row, "entropy", "same_contexts")
    share = found.value / most if found and most > 0 else 0.0
    full = round(min(max(share, 0.0), 1.0) * BAR)
    return ("█" if unicode else "#") * full + ("░" if unicode else ".") * (BAR - full)


def _stacked(document: Row) -> RenderableType:
    """Every sampler with its figures below its name."""
    parts: list[RenderableType] = []
    for name, cells in tables.overview(document):
        named = zip(tables.COLUMNS, cells, strict=True)
        facts = [f"{c.title} {text}" for c, text in named if text != tables.NOTHING]
        parts += blocks.entry(name, (), ", ".join(facts))
    return blocks.several(parts)
