"""The tables of the page: each cell has a figure, its interval and a difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelm.reports.document.lookup import (
    HUMAN,
    TEACHER_FORCED,
    Figure,
    difference,
    figure,
    rows,
    value,
)
from corelm.reports.render.columns import ENTROPY, Column, Table, columns_of, spread_text
from corelm.reports.render.format import MINUS, interval, signed

Row = Mapping[str, Any]


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
        clear: True if the interval of the difference does not hold 0.
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
        human: the mean of human text; None if there is no human row.
    """

    at: float
    low: float
    high: float
    human: float | None


@dataclass(frozen=True)
class Line:
    """One row of a table: a sampler or people, and its cells or the reason that it has none."""

    name: str
    note: str = ""
    human: bool = False
    error: str = ""
    n: str = ""
    strip: RangeStrip | None = None
    cells: Sequence[Cell] = ()


def lines(document: Row, table: Table) -> Iterator[Line]:
    """Yield the rows of a table, the human one first."""
    reference = document["reference"]
    columns = shown_columns(document, table)
    if reference:
        yield _line("human text", reference, document, table, columns)
    for row in document["samplers"]:
        if row["error"]:
            reason = f"{row['error']['type']}: {row['error']['message']}"
            yield Line(row["sampler"], error=reason)
        else:
            yield _line(row["sampler"], row, document, table, columns)


def shown_columns(document: Row, table: Table) -> list[Column]:
    """Return the columns of a table, without those of figures that no row has.

    Only samplers with a mask have a cost of their constraint, for example.
    """
    reference, measured = document["reference"], [row for _, row in rows(document)]
    return [
        column
        for column in columns_of(table, document)
        if any(_cell(column, row, reference).text for row in measured)
    ]


def _line(name: str, row: Row, document: Row, table: Table, columns: Sequence[Column]) -> Line:
    human = document["reference"]
    n = (row[table.view] or {}).get("n")
    elsewhere = document["header"]["contexts"]["source"] != HUMAN
    return Line(
        name,
        note="measured on other texts" if row is human and elsewhere else "",
        human=row is human,
        n="" if n is None else f"{n:,}",
        strip=_strip(row, human, document["bounds"]["max"]) if table is ENTROPY else None,
        cells=[_cell(column, row, human) for column in columns],
    )


def _cell(column: Column, row: Row, human: Row | None) -> Cell:
    if column.text is not None:
        return Cell(column.title, column.text(row))
    is_human = row is human
    found = _figure(column, row, is_human)
    if found is None:
        return Cell(column.title)
    low, high = _ends(column, found, row)
    ends = "" if low is None or high is None else interval(column.form, low, high)
    other = difference(row, column.metric, column.view) if column.compared else None
    text = column.form(found.value).replace("-", MINUS)
    note = "of the words written" if is_human and column.human_metric else spread_text(column, row)
    if other is None:
        return Cell(column.title, text, note, ends)
    return Cell(column.title, text, note, ends, *_difference(column, other))


def _difference(column: Column, found: Figure) -> tuple[str, str, bool]:
    """The text of a difference, that of its interval, and True if this does not hold 0."""
    text = signed(column.form, found.value)
    if found.low is None or found.high is None:
        return text, "", False
    ends = interval(column.form, found.low, found.high)
    return text, ends, not found.low <= 0 <= found.high


def _figure(column: Column, row: Row, human: bool) -> Figure | None:
    return figure(row, (human and column.human_metric) or column.metric, column.view)


def _ends(column: Column, found: Figure, row: Row) -> tuple[float | None, float | None]:
    """The ends of the 95 % interval, or the two figures that the column shows instead."""
    if column.between is None:
        return found.low, found.high
    low, high = column.between
    return value(row, low, column.view), value(row, high, column.view)


def _strip(row: Row, human: Row | None, greatest: float) -> RangeStrip | None:
    mean, *ends = (value(row, f"entropy.{name}", TEACHER_FORCED) for name in ("mean", "p05", "p95"))
    if mean is None:
        return None
    low, high = (_place(mean if end is None else end, greatest) for end in ends)
    person = value(human, "entropy", TEACHER_FORCED)
    human_place = None if person is None else _place(person, greatest)
    return RangeStrip(_place(mean, greatest), low, high, human_place)


def _place(entropy: float, greatest: float) -> float:
    """The position of an entropy between 0 and the largest one, in percent."""
    return round(min(max(100 * entropy / (greatest or 1), 0), 100), 1)
