"""The numbers behind each chart, as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from corelm.reports.document.content import Document
from corelm.reports.document.figures import GENERATED, TEACHER_FORCED
from corelm.reports.document.lookup import estimate
from corelm.reports.render.frames import as_csv

DIGITS = 6
"""The significant digits of a number: more than a chart shows, and half the bytes of them all."""

View = tuple[str, str]
"""A figure and its view."""
SURPRISAL, DIVERSITY = ("surprisal", GENERATED), ("diversity", GENERATED)
MASS, RECALL = ("mass_kept", TEACHER_FORCED), ("human_recall", TEACHER_FORCED)
EXPECTED = ("expected_surprisal", TEACHER_FORCED)


def of_figures(document: Document, *figures: View) -> str:
    """Return a line for each entry with some of its figures and their 95 % intervals."""
    header = [f"{name}{end}" for name, _ in figures for end in ("", "_low", "_high")]
    return as_csv(["sampler", *header], _figures(document, figures))


def _figures(document: Document, figures: Sequence[View]) -> Iterator[list[Any]]:
    for entry in document.entries:
        found = [estimate(entry, *figure) for figure in figures]
        if any(found):
            cells = [(each.value, each.low, each.high) if each else (None,) * 3 for each in found]
            yield [entry.label, *(_short(each) for cell in cells for each in cell)]


def of_curve(document: Document) -> str:
    """Return the curve of expected surprisal, then the value and the interval of each sampler."""
    curve = document.curve
    lines = [
        ["", _short(t), _short(nats)] for t, nats in zip(curve.t, curve.surprisal, strict=False)
    ]
    marks = [[name, None, *rest] for name, *rest in _figures(document, [EXPECTED])]
    header = ["sampler", "temperature", "expected_surprisal"]
    ends = [f"{header[-1]}_low", f"{header[-1]}_high"]
    return as_csv([*header, *ends], [[*line, None, None] for line in lines] + marks)


def by_position(document: Document, figure: str) -> str:
    """Return a line for each position, with a column for each sampler."""
    columns = {
        entry.sampler: {place["position"]: place.get(figure) for place in part.by_position}
        for entry in document.samplers
        if (part := entry.teacher_forced) and part.by_position
    }
    positions = sorted({place for column in columns.values() for place in column})
    rows = [
        [place + 1, *(_short(column.get(place)) for column in columns.values())]
        for place in positions
    ]
    return as_csv(["position", *columns], rows)


def _short(value: Any) -> Any:
    """Round a number; a value that was not measured stays None."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
