"""A report as a table, as wide as the terminal is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.console import RenderableType

from corelm.cli.output import blocks
from corelm.cli.output.terminal import one_line
from corelm.report.document.lookup import Row, figure, rows
from corelm.report.document.summary import sentence
from corelm.report.render import tables

NARROW = 60
"""Columns below which the figures of a sampler stand under it, not beside it."""
NAME, BAR, GAP = 26, 10, 2
"""Characters of a name in one line at most, of a whole bar, and between two columns."""
BY_WEIGHT = (
    tables.ENTROPY,
    tables.ENTROPY_TO_HUMAN,
    None,
    tables.SURPRISAL,
    tables.LOOPS,
    tables.REPETITION,
    tables.DISTINCT,
    tables.MASS,
    tables.SURPRISAL_TO_HUMAN,
)
"""The columns, first those that have room first; None is that of the bars."""
Columns = list[tables.Column | None]


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
    names = [one_line(name) for name, _ in named]
    longest = min(max(map(cell_len, names)), max(NAME, width // 3))
    texts = _columns(document, named, unicode)
    widths = {column: max(map(cell_len, text)) for column, text in texts.items()}
    chosen = [texts[column] for column in _that_fit(widths, width - longest)]
    titles, *lines = zip(["", *names], *chosen, strict=True)
    return blocks.figures(titles, lines, widest=longest)


def _columns(
    document: Row, named: Sequence[tuple[str, Row]], unicode: bool
) -> dict[tables.Column | None, list[str]]:
    """What stands in every column, its title first."""
    most = document["bounds"]["max"]
    bars = [f"0 to {most:.2f}", *(_bar(row, most, unicode) for _, row in named)]
    columns = tables.columns(document)
    cells = zip(*(cells for _, cells in tables.overview(document)), strict=True)
    texts = ([column.title, *text] for column, text in zip(columns, cells, strict=True))
    return {None: bars, **dict(zip(columns, texts, strict=True))}


def _that_fit(widths: Mapping[tables.Column | None, int], room: int) -> Columns:
    """The columns that have room, in the order of the table, the bars behind the entropies."""
    chosen: Columns = []
    for column in BY_WEIGHT:
        room -= GAP + widths.get(column, -GAP)
        if room < 0:
            break
        chosen += [column] if column in widths else []
    order = [*tables.COLUMNS[:2], None, *tables.COLUMNS[2:]]
    return sorted(chosen, key=order.index)


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
        named = zip(tables.columns(document), cells, strict=True)
        facts = [f"{c.title} {text}" for c, text in named if text != tables.NOTHING]
        parts += blocks.entry(name, (), ", ".join(facts))
    return blocks.several(parts)
