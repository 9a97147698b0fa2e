"""The rows of a report as its plots show them: their labels, their sweeps, their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelm.reports.document.lookup import TEACHER_FORCED, figure, value
from corelm.reports.render.plots.labels import labels, shortened

Document = Mapping[str, Any]
Row = Mapping[str, Any]
Point = tuple[float, float]

ALL = 0.9995
"""The mass from which a sampler counts as keeping all of it."""


@dataclass(frozen=True)
class Sweep:
    """The settings of a sweep of one parameter that were measured.

    Attributes:
        label: its expression, shortened.
        parameter: the name of the parameter that varies.
        rows: the label and the content of each setting, in the order of their values.
        values: those of the parameter.
    """

    label: str
    parameter: str
    rows: Sequence[tuple[str, Row]]
    values: Sequence[float]


def named(document: Document) -> list[tuple[str, Row]]:
    """Return the samplers that did not fail, each with its label."""
    rows = document["samplers"]
    return [(label, row) for label, row in zip(labels(rows), rows, strict=True) if not row["error"]]


def sweeps(document: Document) -> list[Sweep]:
    """Return the sweeps with at least two settings that did not fail."""
    rows: dict[str, list[tuple[str, Row]]] = {}
    for label, row in named(document):
        if row.get("sweep"):
            rows.setdefault(row["sweep"], []).append((label, row))
    return [found for text, members in rows.items() if (found := _sweep(text, members))]


def _sweep(expression: str, rows: Sequence[tuple[str, Row]]) -> Sweep | None:
    """The sweep of some rows; None unless exactly one number differs between them."""
    numbers = [_numbers(row) for _, row in rows]
    differing = [key for key in numbers[0] if len({each.get(key) for each in numbers}) > 1]
    if len(differing) != 1 or not all(differing[0] in each for each in numbers):
        return None
    values = [each[differing[0]] for each in numbers]
    order = sorted(range(len(rows)), key=values.__getitem__)
    return Sweep(
        shortened(expression),
        differing[0][1],
        [rows[i] for i in order],
        [values[i] for i in order],
    )


def _numbers(row: Row) -> dict[tuple[int, str], float]:
    """The parameters of a row that are numbers, by the place of their stage and by name."""
    stages = row.get("stages") or [row]
    return {
        (place, name): value
        for place, stage in enumerate(stages)
        for name, value in stage["params"].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def ends_of_sweeps(document: Document, names: Iterable[str]) -> list[str]:
    """Return the names that a plot shows: of the settings of a sweep, the first and the last."""
    hidden = {label for sweep in sweeps(document) for label, _ in sweep.rows[1:-1]}
    return [name for name in names if name not in hidden]


def point_of(row: Row | None, across: str, up: str, view: str) -> Point | None:
    """Return two figures of a row as a point, or None if one of them was not measured."""
    x, y = (value(row, metric, view) for metric in (across, up))
    return None if x is None or y is None else (x, y)


def ends_of(row: Row, metric: str, view: str) -> Point | None:
    """Return the 95 % interval of a figure, or None if it has none."""
    found = figure(row, metric, view)
    if found is None or found.low is None or found.high is None:
        return None
    return found.low, found.high


def name_of_rest(rest: Sequence[str], others: bool) -> str:
    """Return the name of a line or a mark that several samplers share.

    Args:
        rest: the labels of those samplers.
        others: True if other samplers have lines or marks of their own.
    """
    if len(rest) == 1:
        return rest[0]
    return "all others" if others else "all samplers"


def mass(row: Row) -> float | None:
    """Return the mean mass that a sampler keeps, if it was measured."""
    return value(row, "mass_kept", TEACHER_FORCED)
