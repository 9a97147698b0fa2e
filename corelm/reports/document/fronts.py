"""Pareto fronts: the entries that no other entry beats in two figures at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from corelm.reports.document.content import Front, SamplerEntry
from corelm.reports.document.figures import GENERATED, TEACHER_FORCED
from corelm.reports.document.lookup import value

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


def fronts(samplers: Iterable[SamplerEntry]) -> list[Front]:
    """Return the front of each pair of figures that the entries have.

    Example:
        >>> from corelm.reports.document.content import TeacherForced
        >>> entries = [
        ...     SamplerEntry(
        ...         sampler=name,
        ...         teacher_forced=TeacherForced(
        ...             figures={"human_recall": recall, "mass_kept": mass}
        ...         ),
        ...     )
        ...     for name, recall, mass in (("a", 0.9, 0.8), ("b", 0.9, 0.9), ("c", 1.0, 1.0))
        ... ]
        >>> fronts(entries)[0].entries
        ['a', 'c']
    """
    measured = list(samplers)
    found = []
    for pair in PAIRS:
        points = {entry.sampler: at for entry in measured if (at := _point(entry, pair))}
        best = front(points.values())
        names = [name for name, point in points.items() if point in best]
        if names:
            found.append(Front(**pair._asdict(), entries=names))
    return found


def _point(entry: SamplerEntry, pair: Pair) -> Point | None:
    x, y = (value(entry, figure, pair.view) for figure in (pair.larger, pair.smaller))
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
