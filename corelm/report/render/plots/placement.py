"""Where the labels of a plot go, so that none covers another: plain geometry, no matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Floats = NDArray[np.float64]

DISTANCES = (7.0, 11.0, 16.0, 24.0, 34.0, 46.0, 60.0, 78.0)
"""How far from its mark a label may be, the nearest first."""
NEAR = 12.0
"""How far from its mark a label may be without a line to it."""
DIRECTIONS = 16
MOST = 200
"""Pieces between two points of a line."""
COVERED, CROWDED, DOUBTFUL, FAR = 50.0, 4.0, 3.0, 1.0
"""What it costs to cover a label or leave the plot, to cover a mark or a line, to be no farther
from another mark, to be far from its own."""
CLEAR = 5.0
"""How much farther from other marks than from its own a label should be."""
LITTLE, ROUNDS = 20.0, 3
"""By how much a place may cost more and still be a choice; how often the choices are made anew."""


class Box(NamedTuple):
    """A rectangle, in the units of the picture."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Box:
        """The rectangle of a size around a middle.

        Example:
            >>> Box.around(0, 0, 4, 2)
            Box(left=-2.0, bottom=-1.0, right=2.0, top=1.0)
        """
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @property
    def middle(self) -> Point:
        """Where its diagonals meet."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2


def shared(some: Iterable[Box], others: Iterable[Box]) -> Floats:
    """The area that each of some rectangles shares with others, added up.

    Example:
        >>> shared([Box(0, 0, 2, 2)], [Box(1, 1, 5, 5), Box(-1, -1, 9, 9)]).tolist()
        [5.0]
    """
    a, b = (np.array([*boxes], dtype=np.float64).reshape(-1, 4) for boxes in (some, others))
    upper = np.minimum(a[:, None, 2:], b[None, :, 2:])
    lower = np.maximum(a[:, None, :2], b[None, :, :2])
    areas: Floats = np.maximum(upper - lower, 0).prod(axis=-1).sum(axis=-1)
    return areas


def beside(
    points: Sequence[Point],
    sizes: Sequence[tuple[float, float]],
    inside: Box,
    written: Sequence[Box] = (),
    drawn: Sequence[Box] = (),
) -> list[Box]:
    """A place for the label of each mark: near it, covering no other label, and little else.

    Args:
        points: where the marks are.
        sizes: (width, height) of their labels.
        inside: what no label may leave.
        written: what is written already; it may be covered as little as a label.
        drawn: marks and pieces of lines, better not covered either.

    Example:
        >>> plot = Box(0, 0, 100, 100)
        >>> one, two = beside([(50, 50), (52, 50)], [(20, 8), (20, 8)], plot)
        >>> shared([one], [two]).tolist()
        [0.0]
    """
    choices = [Choice.of(point, size) for point, size in zip(points, sizes, strict=True)]
    costs = [
        choice.outside(inside)
        + choice.doubt(points)
        + COVERED * choice.clash(written)
        + CROWDED * shared(choice.boxes, drawn)
        for choice in choices
    ]
    chosen: dict[int, int] = {}
    for i in sorted(range(len(points)), key=lambda i: _freedom(costs[i])) * ROUNDS:
        others = [box for j, at in chosen.items() if j != i for box in choices[j].taken(at)]
        chosen[i] = int(np.argmin(costs[i] + COVERED * choices[i].clash(others)))
    return [choices[i].boxes[chosen[i]] for i in range(len(points))]


def _freedom(costs: Floats) -> int:
    """How many places a label has that are about as good as its best one."""
    return int(np.count_nonzero(costs < costs.min() + LITTLE))


@dataclass(frozen=True)
class Choice:
    """The places that a label may have around its mark.

    Attributes:
        point: the mark.
        boxes: the places.
        leaders: the line that leads from each to the mark, in pieces; none where it is near.
        owners: for each piece of all those lines, the place that it belongs to.
    """

    point: Point
    boxes: Sequence[Box]
    leaders: Sequence[Sequence[Box]]
    owners: NDArray[np.intp]

    @classmethod
    def of(cls, point: Point, size: tuple[float, float]) -> Choice:
        """Those whose nearest edge is so far from the mark, in each direction."""
        boxes, leaders = [], []
        for distance in DISTANCES:
            for step in range(DIRECTIONS):
                angle = 2 * math.pi * step / DIRECTIONS
                x = point[0] + math.cos(angle) * (distance + size[0] / 2)
                y = point[1] + math.sin(angle) * (distance + size[1] / 2)
                boxes.append(Box.around(x, y, *size))
                leaders.append(_leader(boxes[-1], point) if distance > NEAR else [])
        owners = np.repeat(np.arange(len(boxes)), [len(line) for line in leaders])
        return cls(point, boxes, leaders, owners)

    def taken(self, at: int) -> list[Box]:
        """What a label covers in one of the places, with the line to its mark."""
        return [self.boxes[at], *self.leaders[at]]

    def clash(self, others: Sequence[Box]) -> Floats:
        """For each place, the area that the label and its line share with others."""
        lines = shared([piece for line in self.leaders for piece in line], others)
        crossed = np.bincount(self.owners, lines, minlength=len(self.boxes))
        return np.asarray(shared(self.boxes, others) + crossed)

    def outside(self, frame: Box) -> Floats:
        """For each place, what it costs to be far away and to leave the plot."""
        area = shared(self.boxes[:1], self.boxes[:1])
        far = FAR * np.repeat(DISTANCES, DIRECTIONS)
        return np.asarray(far + COVERED * (area - shared(self.boxes, [frame])))

    def doubt(self, points: Sequence[Point]) -> Floats:
        """For each place, what it costs that the label could be taken for that of another mark."""
        others = [point for point in points if point != self.point]
        if not others:
            return np.zeros(len(self.boxes))
        nearest = np.min([_gaps(self.boxes, point) for point in others], axis=0)
        doubt = np.maximum(_gaps(self.boxes, self.point) + CLEAR - nearest, 0)
        return np.asarray(DOUBTFUL * doubt)


def _leader(box: Box, point: Point) -> list[Box]:
    line = pieces([box.middle, point], 5, 1)
    return [piece for piece, inside in zip(line, shared(line, [box]), strict=True) if not inside]


def _gaps(boxes: Sequence[Box], point: Point) -> Floats:
    """How far a point is from each of some rectangles."""
    edges = np.array(boxes)
    out = np.maximum(np.maximum(edges[:, :2] - point, point - edges[:, 2:]), 0)
    return np.asarray(np.hypot(out[:, 0], out[:, 1]))


def pieces(points: Sequence[Point], length: float, thick: float) -> list[Box]:
    """A broken line as small rectangles along it, and a point as one.

    Args:
        points: where the line goes through.
        length: how long a piece is, unless the line goes far beyond the picture.
        thick: how much wider than its piece a rectangle is.

    Example:
        >>> len(pieces([(0, 0), (10, 0)], 5, 2))
        2
    """
    boxes = [Box.around(*points[0], thick, thick)] if len(points) == 1 else []
    for (x, y), (u, v) in pairwise(points):
        count = min(max(1, math.ceil(math.dist((x, y), (u, v)) / length)), MOST)
        across, up = (u - x) / count, (v - y) / count
        for i in range(count):
            middle = x + (i + 0.5) * across, y + (i + 0.5) * up
            boxes.append(Box.around(*middle, abs(across) + thick, abs(up) + thick))
    return boxes


def spread(wanted: Sequence[float], gap: float, least: float, most: float) -> list[float]:
    """Heights as near to the wanted ones as they can be, at least a gap apart.

    Args:
        wanted: one height for each label.
        gap: how far apart at least; less where there is no room.
        least, most: the range to keep to.

    Example:
        >>> spread([1.0, 1.0, 9.0], 2.0, 0.0, 10.0)
        [0.0, 2.0, 9.0]
    """
    if not wanted:
        return []
    gap = min(gap, (most - least) / max(len(wanted) - 1, 1))
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    # With the gaps taken out, the heights only must not fall: pool those that would.
    pools: list[list[float]] = []
    for place, i in enumerate(order):
        pools.append([wanted[i] - place * gap])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    low, high = least, most - (len(wanted) - 1) * gap
    levels = [min(max(_mean(pool), low), high) for pool in pools for _ in pool]
    heights = {
        i: level + place * gap for place, (i, level) in enumerate(zip(order, levels, strict=True))
    }
    return [heights[i] for i in range(len(wanted))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
