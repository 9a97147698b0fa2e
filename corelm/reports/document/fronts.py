"""Pareto fronts: the rows that no other row beats in two figures at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from corelm.reports.document.lookup import GENERATED, TEACHER_FORCED, Row, value

Point = tuple[float, float]


class Pair(NamedTuple):
    """Two figures of a view: the one is better if it is larger, the other if it is smaller."""

    view: str
    larger: str
    smaller: str


PAIRS = (
    Pair(GENERATED, "diversity", "surprisal"),
    Pair(TEACHER_FORCED, "human_recall", "mass_kept"),
)


def fronts(samplers: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the front of each pair of figures that the rows have: `fronts` of a report.

    Args:
        samplers: the rows of a report.

    Example:
        >>> rows = [
        ...     {"sampler": name, "teacher_forced": {"human_recall": recall, "mass_kept": mass}}
        ...     for name, recall, mass in (("a", 0.9, 0.8), ("b", 0.9, 0.9), ("c", 1.0, 1.0))
        ... ]
        >>> fronts([{**row, "generated_texts": None} for row in rows])[0]["rows"]
        ['a', 'c']
    """
    measured = list(samplers)
    found = []
    for pair in PAIRS:
        points = {row["sampler"]: at for row in measured if (at := _point(row, pair)) is not None}
        best = front(points.values())
        names = [name for name, point in points.items() if point in best]
        if names:
            found.append({**pair._asdict(), "rows": names})
    return found


def _point(row: Mapping[str, Any], pair: Pair) -> Point | None:
    x, y = (value(row, metric, pair.view) for metric in (pair.larger, pair.smaller))
    return None if x is None or y is None else (x, y)


def front(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other one beats in both: a larger first and a smaller second value.

    Example:
        >>> front([(0.1, 1.0), (0.9, 3.0), (0.5, 4.0)])
        [(0.1, 1.0), (0.9, 3.0)]
    """
    best: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[1], -point[0])):
        if not best or x > best[-1][0]:
            best.append((x, y))
    return best
