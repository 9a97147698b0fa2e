"""The differences of a page that are more than chance, many of them at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from corelm.reports.document.content import Document, SamplerEntry
from corelm.reports.document.figures import TABLES, TEACHER_FORCED, Figure
from corelm.reports.document.lookup import Estimate, difference
from corelm.reports.metrics.closest_set import normal_score, student
from corelm.reports.render.columns import columns_of

RATE = 0.05
"""The share of false ones among the differences that are marked, at most, on average."""


class Place(NamedTuple):
    """The place of a difference: the name of its entry, its view, its figure."""

    entry: str
    view: str
    figure: str


def clear_differences(document: Document) -> set[Place]:
    """Return the differences that are more than chance, of all that the tables of the page have."""
    return discoveries(dict(p_values(document)))


def p_values(document: Document) -> Iterator[tuple[Place, float]]:
    """Yield every difference on the page that has an interval, with its p-value."""
    columns = [column for table in TABLES for column in columns_of(table, document)]
    for entry in document.samplers:
        for column in columns:
            found = _compared(entry, column)
            if found is not None:
                place = Place(entry.label, column.view, column.looked_up)
                yield place, _p_value(found, _units(document, entry, column.view))


def discoveries(chances: Mapping[Place, float], rate: float = RATE) -> set[Place]:
    """Return the places whose p-values are significant at a false discovery rate.

    Source: Benjamini and Hochberg 1995, Controlling the false discovery rate: a practical and
    powerful approach to multiple testing, doi 10.1111/j.2517-6161.1995.tb02031.x.

    Example:
        >>> chances = {Place("a", "", str(n)): p for n, p in enumerate((0.001, 0.024, 0.04, 0.9))}
        >>> sorted(each.figure for each in discoveries(chances))
        ['0', '1']
    """
    ordered = sorted(chances.values())
    bounds = [p for n, p in enumerate(ordered, 1) if p <= rate * n / len(ordered)]
    return {place for place, p in chances.items() if bounds and p <= bounds[-1]}


def _compared(entry: SamplerEntry, column: Figure) -> Estimate | None:
    """Return the difference in a cell, if it has an interval."""
    if entry.error or not column.compared:
        return None
    found = difference(entry, column.looked_up, column.view)
    return found if found and found.interval else None


def _units(document: Document, entry: SamplerEntry, view: str) -> int:
    """Return the number of texts behind a figure."""
    part = entry.generated_texts
    texts = document.header.contexts.texts if view == TEACHER_FORCED else part and part.n
    return texts or 0


def _p_value(found: Estimate, units: int) -> float:
    """Return the two-sided p-value of a difference, from the end of its interval nearer to 0.

    It is below 5 % where the interval excludes 0. Few texts have the tails of Student's t.
    """
    value, (low, high) = found.value, found.interval or (-math.inf, math.inf)
    half = value - low if value > 0 else high - value
    if half <= 0:
        return 1.0 if value == 0 else 0.0
    freedom = max(units - 1, 1)
    z = normal_score(abs(value) / half * student(0.975, freedom), freedom)
    return math.erfc(z / math.sqrt(2))
