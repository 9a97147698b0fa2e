"""The figures of a report as one flat list: what the gate, CSV and every table look up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from corelm.report.document.schema import schema

HUMAN = "human"
VIEWS = ("same_contexts", "own_texts")
"""The two views: the same contexts for every sampler, and what each sampler writes."""
COUNTS = ("n", "tokens")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        view: where it was measured: `same_contexts` or `own_texts`.
        metric: which it is, such as `loops` or `entropy.mean`.
        value: in nats where it is an entropy or a surprisal.
        low, high: its 95 % interval; None where none is known.
        n: of how many texts or positions it is a summary; None where that is not known.
    """

    view: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int | None


def rows(document: Row) -> list[tuple[str, Row]]:
    """The name and the figures of every row that has any, the human one first."""
    named = [(HUMAN, document["reference"])] if document["reference"] else []
    named += [(row["sampler"], row) for row in document["samplers"]]
    return [(name, row) for name, row in named if not row.get("error")]


def figures(row: Row) -> Iterator[Figure]:
    """Every figure of a row, in the order of the document."""
    for view in VIEWS:
        part = row[view] or {}
        intervals = part.get("ci95") or {}
        for metric, value in _flat(part):
            given = part["entropy"].get("ci95") if metric == MEAN else intervals.get(metric)
            low, high = given or (None, None)
            yield Figure(view, metric, value, low, high, part.get("n"))


def figure(row: Row, metric: str, view: str | None = None) -> Figure | None:
    """The figure of a metric; None where it was not measured."""
    wanted = MEAN if metric == "entropy" else metric
    found = (f for f in figures(row) if f.metric == wanted and view in (None, f.view))
    return next(found, None)


MEAN = "entropy.mean"


@cache
def metrics() -> tuple[str, ...]:
    """The metrics that a report of this version can have, by the names that `figure` takes."""
    of = schema()["$defs"]
    named = [name for view in VIEWS for name, rule in of[view]["properties"].items()]
    entropy = [f"entropy.{name}" for name in of["entropy"]["properties"] if name != "ci95"]
    left_out = {*COUNTS, "bits", "ci95", "by_position"}
    return (*dict.fromkeys(name for name in named if name not in left_out), *entropy)


def _flat(part: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a view, those of the entropy by their full names."""
    for name, value in part.items():
        if name == "entropy" and isinstance(value, Mapping):
            yield from _flat({f"entropy.{key}": item for key, item in value.items()})
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name not in COUNTS:
            yield name, value
