"""The tables of the page: each cell has a figure, its interval and a difference."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from corelm.reports.document.content import (
    Document,
    Entry,
    GeneratedTexts,
    HumanContexts,
    HumanEntry,
    TeacherForced,
)
from corelm.reports.document.figures import ENTROPY, GENERATED, HUMAN, TEACHER_FORCED, Figure
from corelm.reports.document.lookup import Estimate, difference, estimate, value
from corelm.reports.document.numbers import MINUS, interval, signed
from corelm.reports.render.columns import columns_of, spread_text, text_of
from corelm.reports.render.false_discoveries import Place, clear_differences


@dataclass(frozen=True)
class Cell:
    """The text of one cell: a figure, its interval, its difference from human text.

    Attributes:
        title: the heading of its column.
        text: the figure.
        note: what is different about this figure, or its spread over the seeds.
        interval: its 95 % interval.
        difference: the difference.
        difference_interval: its own interval.
        clear: True if the difference is more than chance, among all differences of the page.
    """

    title: str
    text: str = ""
    note: str = ""
    interval: str = ""
    difference: str = ""
    difference_interval: str = ""
    clear: bool = False


@dataclass(frozen=True)
class RangeStrip:
    """An entropy drawn on a scale from 0 to the largest one.

    Attributes:
        at: the mean, in percent of the scale.
        low, high: the 5th and the 95th percentile.
    """

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A line of a table: a sampler or human text, with its cells or the reason for having none."""

    name: str
    note: str = ""
    human: bool = False
    error: str = ""
    n: str = ""
    strip: RangeStrip | None = None
    cells: Sequence[Cell] = ()


def lines(document: Document, table: str) -> Iterator[Line]:
    """Yield the lines of a table, the human one first."""
    columns = shown_columns(document, table)
    clear = clear_differences(document)
    if document.human:
        yield _line("human text", document.human, document, table, columns, clear)
    for entry in document.samplers:
        if entry.error:
            yield Line(entry.sampler, error=f"{entry.error.type}: {entry.error.message}")
        else:
            yield _line(entry.sampler, entry, document, table, columns, clear)


def shown_columns(document: Document, table: str) -> list[Figure]:
    """Return the columns of a table, without those of figures that no entry has.

    Only samplers with a mask have a cost of their constraint, for example.
    """
    return [
        column
        for column in columns_of(table, document)
        if any(_cell(column, entry).text for entry in document.entries)
    ]


def _line(
    name: str,
    entry: Entry,
    document: Document,
    table: str,
    columns: Sequence[Figure],
    clear: Collection[Place],
) -> Line:
    human = document.human
    part = entry.part(TEACHER_FORCED if table == ENTROPY else GENERATED)
    elsewhere = document.header.contexts.source != HUMAN
    return Line(
        name,
        note="measured on other texts" if entry is human and elsewhere else "",
        human=entry is human,
        n=_count(part),
        strip=_strip(entry, document.bounds.max) if table == ENTROPY else None,
        cells=[_cell(column, entry, clear) for column in columns],
    )


def _count(part: TeacherForced | HumanContexts | GeneratedTexts | None) -> str:
    """Return the number of texts or positions, and that of independent units if it differs."""
    if part is None or part.n is None:
        return ""
    units = part.units if isinstance(part, GeneratedTexts) else None
    return f"{part.n:,}" if units in (None, part.n) else f"{part.n:,} ({units:,} independent)"


def _cell(column: Figure, entry: Entry, clear: Collection[Place] = ()) -> Cell:
    written = text_of(column, entry)
    if written is not None:
        return Cell(column.title, written)
    is_human = isinstance(entry, HumanEntry)
    # The human counterpart of a figure may have a different name.
    name = (is_human and column.human) or column.looked_up
    found = estimate(entry, name, column.view)
    if found is None:
        return Cell(column.title)
    low, high = _ends(column, found, entry)
    ends = "" if low is None or high is None else interval(column.form, low, high)
    other = difference(entry, column.looked_up, column.view) if column.compared else None
    text = column.form(found.value).replace("-", MINUS)
    note = "of the words written" if is_human and column.human else spread_text(column, entry)
    part = entry.part(column.view)
    if part is not None and found.n is not None and part.n is not None and found.n < part.n:
        note = ", ".join(filter(None, (f"of {found.n:,} texts", note)))
    if other is None:
        return Cell(column.title, text, note, ends)
    is_clear = Place(entry.label, column.view, column.looked_up) in clear
    return Cell(column.title, text, note, ends, *_difference(column, other), is_clear)


def _difference(column: Figure, found: Estimate) -> tuple[str, str]:
    """Return a difference and its interval as text."""
    text = signed(column.form, found.value)
    if found.low is None or found.high is None:
        return text, ""
    return text, interval(column.form, found.low, found.high)


def _ends(column: Figure, found: Estimate, entry: Entry) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval, or the two figures that the column shows instead."""
    if column.between is None:
        return found.low, found.high
    low, high = column.between
    return value(entry, low, column.view), value(entry, high, column.view)


def _strip(entry: Entry, greatest: float) -> RangeStrip | None:
    """Return the strip of an entry; None for a decoder or human text, which have no entropy."""
    mean, *ends = (
        value(entry, f"entropy.{name}", TEACHER_FORCED) for name in ("mean", "p05", "p95")
    )
    if mean is None:
        return None
    low, high = (_place(mean if end is None else end, greatest) for end in ends)
    return RangeStrip(_place(mean, greatest), low, high)


def _place(entropy: float, greatest: float) -> float:
    """Return the position of an entropy between 0 and the largest one, in percent."""
    return round(min(max(100 * entropy / (greatest or 1), 0), 100), 1)
