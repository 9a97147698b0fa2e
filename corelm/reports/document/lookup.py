"""Every figure of a report by name: the gate, CSV and the tables look them up here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from corelm.reports.document.schema import schema

HUMAN = "human"
TEACHER_FORCED, GENERATED = VIEWS = ("teacher_forced", "generated_texts")
"""The two views, by their keys: the same contexts for every sampler, and texts of its own."""
MEAN = "entropy.mean"
COUNTS = ("n", "tokens")
OF_SETS = ("distinct_1", "distinct_2", "distinct_3", "self_bleu_4", "zipf", "compression")
"""The figures that depend on the number of texts and on their length."""
OF_TEXTS = ("rep_2", "rep_3", "rep_4", "diversity", "loops")
"""The figures that depend on the length of the texts."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        view: the part of the report it belongs to: `teacher_forced` or `generated_texts`.
        metric: its name, such as `loops` or `entropy.mean`.
        value: in nats if it is an entropy or a surprisal.
        low, high: its 95 % interval; None if there is none.
        n: the number of texts or positions behind it; None if that is unknown.
    """

    view: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int | None

    @property
    def interval(self) -> list[float] | None:
        """Both ends of the interval; None if there is none."""
        return None if self.low is None or self.high is None else [self.low, self.high]


def rows(document: Row) -> list[tuple[str, Row]]:
    """Return the name and the content of every row that has figures, the human one first."""
    named = [(HUMAN, document["reference"])] if document["reference"] else []
    named += [(row["sampler"], row) for row in document["samplers"]]
    return [(name, row) for name, row in named if not row.get("error")]


def figures(row: Row) -> Iterator[Figure]:
    """Yield every figure of a row, in the order of the document."""
    for view in VIEWS:
        part = row[view] or {}
        intervals = part.get("ci95") or {}
        for metric, value in _flat(part):
            interval = part["entropy"].get("ci95") if metric == MEAN else intervals.get(metric)
            low, high = interval or (None, None)
            yield Figure(view, metric, value, low, high, part.get("n"))


def figure(row: Row, metric: str, view: str | None = None) -> Figure | None:
    """Return the figure of a metric, or None if it was not measured.

    Args:
        row: a sampler's row or the human one.
        metric: its name; `entropy` is short for `entropy.mean`.
        view: the view to look in; both, one after the other, if left out.
    """
    wanted = MEAN if metric == "entropy" else metric
    found = (f for f in figures(row) if f.metric == wanted and view in (None, f.view))
    return next(found, None)


def spread(row: Row, metric: str) -> float | None:
    """Return the standard deviation of a figure of the texts over the seeds, if there are several.

    Example:
        >>> spread({"generated_texts": {"by_seed": {"loops": {"sd": 0.25}}}}, "loops")
        0.25
    """
    found = ((row.get(GENERATED) or {}).get("by_seed") or {}).get(metric)
    return found["sd"] if found else None


def against(document: Row) -> str:
    """Return the name of the row that the differences of a report are from."""
    found = (row["differences"] for row in document["samplers"] if row.get("differences"))
    return next((each["against"] for each in found), HUMAN)


def difference(row: Row, metric: str, view: str) -> Figure | None:
    """Return the difference of a figure from that of another row, if the report has it."""
    wanted = MEAN if metric == "entropy" else metric
    found = ((row.get("differences") or {}).get(view) or {}).get(wanted)
    if not found or found["value"] is None:
        return None
    low, high = found["ci95"] or (None, None)
    return Figure(view, wanted, found["value"], low, high, None)


def value(row: Row | None, metric: str, view: str) -> float | None:
    """Return the number of a metric, or None if it was not measured."""
    found = figure(row, metric, view) if row else None
    return found.value if found else None


def is_matched(document: Row) -> bool:
    """Return True if parameters of the samplers were matched to a figure."""
    return bool(document["header"].get("matched"))


def plugin_metrics(document: Row) -> dict[str, str]:
    """Return the metrics of plugins in a report: a mapping from full name to the name for short.

    Example:
        >>> plugin_metrics({"header": {"metrics": [{"name": "corelm-lexical:mtld"}]}})
        {'corelm-lexical:mtld': 'mtld'}
    """
    return short_names(each["name"] for each in document["header"].get("metrics", ()))


def short_names(full_names: Iterable[str]) -> dict[str, str]:
    """Map full names to the part behind the colon, unless that names another figure too.

    Example:
        >>> short_names(["a:mtld", "b:mtld", "a:loops", "a:mattr"])
        {'a:mtld': 'a:mtld', 'b:mtld': 'b:mtld', 'a:loops': 'a:loops', 'a:mattr': 'mattr'}
    """
    short = {name: name.rpartition(":")[2] for name in full_names}
    uses = Counter([*short.values(), *metrics()])
    return {name: own if uses[own] == 1 else name for name, own in short.items()}


@cache
def metrics() -> tuple[str, ...]:
    """Return the names of all metrics that a report can have, as `figure` takes them."""
    definitions = schema()["$defs"]
    named = [name for view in VIEWS for name in definitions[view]["properties"]]
    entropy = [f"entropy.{name}" for name in definitions["entropy"]["properties"] if name != "ci95"]
    left_out = {*COUNTS, "bits", "ci95", "by_seed", "by_position"}
    return (*dict.fromkeys(name for name in named if name not in left_out), *entropy)


def _flat(part: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a view, those of the entropy under their full names."""
    for name, value in part.items():
        if name == "entropy" and isinstance(value, Mapping):
            yield from _flat({f"entropy.{key}": item for key, item in value.items()})
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name not in COUNTS:
            yield name, value
