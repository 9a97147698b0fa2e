"""Places for the labels of a plot that cover nothing: plain geometry, no matplotlib.

Each label chooses among places around its mark, at several distances and in all directions. Places
cost more the farther they are and the more they cover. Labels with few good places choose first;
then all choose again, since the choices of the others have changed.

A library would replace `place_labels` and `LabelPlaces`. Of 30 random plots each of 5, 8 and 12
names, textalloc 1.2 left no name covered in 28, 23 and 13, these functions in 30, 23 and 9 with
larger letters, and adjustText 1.4 in 1, 0 and 0. But textalloc draws a line to every name, also to
one next to its mark, and lines run over other marks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Floats = NDArray[np.float64]

DISTANCES = (7.0, 11.0, 16.0, 24.0, 34.0, 46.0, 60.0, 78.0)
"""The distances of a label from its mark, the nearest first."""
NEAR = 12.0
"""The distance up to which a label needs no line to its mark."""
MARK = 6.0
"""The distance from the middle of a mark to its edge, with a little room."""
DIRECTIONS = 16
MOST = 200
"""The most pieces between two points of a line."""
COVERED, CROWDED, DOUBTFUL, FAR = 50.0, 4.0, 3.0, 1.0
"""The costs: for an area that covers a label or leaves the plot, for one that covers a mark or a
line, for a distance to another mark that is too small, for the distance to its own mark."""
CLEAR = 5.0
"""Other marks should be farther from a label than its own mark by this distance."""
LITTLE, ROUNDS = 20.0, 3
"""The extra cost up to which a place is still good; the number of rounds of choices."""


class Box(NamedTuple):
    """A rectangle, in the units of the picture."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Box:
        """Return the rectangle of this size around a point.

        Example:
            >>> Box.around(0, 0, 4, 2)
            Box(left=-2.0, bottom=-1.0, right=2.0, top=1.0)
        """
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @property
    def middle(self) -> Point:
        """Its centre."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2


def shared(some: Sequence[Box] | Floats, others: Sequence[Box] | Floats) -> Floats:
    """Return, for each rectangle, the sum of the areas that it shares with the others.

    Example:
        >>> shared([Box(0, 0, 2, 2)], [Box(1, 1, 5, 5), Box(-1, -1, 9, 9)]).tolist()
        [5.0]
    """
    a, b = edges(some), edges(others)
    upper = np.minimum(a[:, None, 2:], b[None, :, 2:])
    lower = np.maximum(a[:, None, :2], b[None, :, :2])
    areas: Floats = np.maximum(upper - lower, 0).prod(axis=-1).sum(axis=-1)
    return areas


def edges(boxes: Sequence[Box] | Floats) -> Floats:
    """Return rectangles as an array: (boxes, 4)."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def place_labels(
    points: Sequence[Point],
    sizes: Sequence[tuple[float, float]],
    inside: Box,
    written: Sequence[Box] = (),
    drawn: Sequence[Box] = (),
) -> list[Box]:
    """Place the label of each mark near it, where it covers no other label and little else.

    Args:
        points: the marks.
        sizes: (width, height) of their labels.
        inside: the frame that no label may leave.
        written: rectangles of other text, which no label may cover.
        drawn: marks and pieces of lines, which labels and their lines should not cover.

    Example:
        >>> plot = Box(0, 0, 100, 100)
        >>> one, two = place_labels([(50, 50), (52, 50)], [(20, 8), (20, 8)], plot)
        >>> shared([one], [two]).tolist()
        [0.0]
    """
    choices = [LabelPlaces.of(point, size) for point, size in zip(points, sizes, strict=True)]
    costs = [
        choice.outside(inside)
        + choice.doubt(points)
        + COVERED * choice.clash(written)
        + CROWDED * shared(choice.edges, drawn)
        + COVERED * choice.crossed(_beyond(drawn, choice.point))
        for choice in choices
    ]
    # Labels with few good places choose first. Later rounds let each label react to the others,
    # which repairs most of what a greedy order spoils.
    chosen: dict[int, int] = {}
    good = [int(np.count_nonzero(cost < cost.min() + LITTLE)) for cost in costs]
    for i in sorted(range(len(points)), key=good.__getitem__) * ROUNDS:
        others = [box for j, at in chosen.items() if j != i for box in choices[j].taken(at)]
        chosen[i] = int(np.argmin(costs[i] + COVERED * choices[i].clash(others)))
    return [choices[i].boxes[chosen[i]] for i in range(len(points))]


def clear(labels: Sequence[Box], inside: Box, others: Sequence[Box]) -> bool:
    """Return True if the labels stay inside a frame and cover neither each other nor others.

    Example:
        >>> clear([Box(0, 0, 2, 2), Box(1, 1, 3, 3)], Box(0, 0, 9, 9), [])
        False
    """
    areas = sum(float(shared([label], [label])[0]) for label in labels)
    within = float(shared(labels, [inside]).sum())
    apart = all(not shared([a], [b]).any() for a, b in combinations(labels, 2))
    return apart and within > areas - 1e-6 and not shared(labels, others).any()


@dataclass(frozen=True)
class LabelPlaces:
    """The places around a mark among which its label chooses.

    Attributes:
        point: the mark.
        boxes: the places.
        leaders: for each place the line to the mark, in pieces; empty if the place is near.
        edges: (places, 4) the places.
        lines: (pieces, 4) the pieces of all lines.
        owners: for each of these pieces, the index of its place.
    """

    point: Point
    boxes: Sequence[Box]
    leaders: Sequence[Sequence[Box]]
    edges: Floats
    lines: Floats
    owners: NDArray[np.intp]

    @classmethod
    def of(cls, point: Point, size: tuple[float, float]) -> LabelPlaces:
        """Return the places at each distance in each direction."""
        boxes, leaders = [], []
        for distance in DISTANCES:
            for step in range(DIRECTIONS):
                angle = 2 * math.pi * step / DIRECTIONS
                x = point[0] + math.cos(angle) * (distance + size[0] / 2)
                y = point[1] + math.sin(angle) * (distance + size[1] / 2)
                boxes.append(Box.around(x, y, *size))
                line = pieces([boxes[-1].middle, point], 5, 1) if distance > NEAR else []
                leaders.append([piece for piece in line if not _overlap(piece, boxes[-1])])
        owners = np.repeat(np.arange(len(boxes)), [len(line) for line in leaders])
        lines = edges([piece for line in leaders for piece in line])
        return cls(point, boxes, leaders, edges(boxes), lines, owners)

    def taken(self, at: int) -> list[Box]:
        """Return the rectangles that a label and its line cover at one place."""
        return [self.boxes[at], *self.leaders[at]]

    def clash(self, others: Sequence[Box]) -> Floats:
        """Return, for each place, the area that the label and its line share with others."""
        return np.asarray(shared(self.edges, others) + self.crossed(others))

    def crossed(self, others: Sequence[Box] | Floats) -> Floats:
        """Return, for each place, the area that the label's line shares with others."""
        areas = shared(self.lines, others)
        return np.asarray(np.bincount(self.owners, areas, minlength=len(self.boxes)))

    def outside(self, frame: Box) -> Floats:
        """Return, for each place, the cost of its distance and of its area outside the plot."""
        area = shared(self.boxes[:1], self.boxes[:1])
        far = FAR * np.repeat(DISTANCES, DIRECTIONS)
        return np.asarray(far + COVERED * (area - shared(self.edges, [frame])))

    def doubt(self, points: Sequence[Point]) -> Floats:
        """Return, for each place, the cost of looking like another mark's label."""
        others = [point for point in points if point != self.point]
        if not others:
            return np.zeros(len(self.boxes))
        nearest = np.min([_gaps(self.edges, point) for point in others], axis=0)
        doubt = np.maximum(_gaps(self.edges, self.point) + CLEAR - nearest, 0)
        return np.asarray(DOUBTFUL * doubt)


def _overlap(a: Box, b: Box) -> bool:
    across = min(a.right, b.right) > max(a.left, b.left)
    return across and min(a.top, b.top) > max(a.bottom, b.bottom)


def _gaps(boxes: Floats, point: Point) -> Floats:
    """Return the distance of a point from each rectangle."""
    out = np.maximum(np.maximum(boxes[:, :2] - point, point - boxes[:, 2:]), 0)
    return np.asarray(np.hypot(out[:, 0], out[:, 1]))


def _beyond(boxes: Sequence[Box], point: Point) -> Floats:
    """Return the rectangles outside the mark at a point, where a line to the point ends."""
    corners = edges(boxes)
    return corners[_gaps(corners, point) > MARK]


def pieces(points: Sequence[Point], length: float, thick: float) -> list[Box]:
    """Cover a line with small rectangles, and a single point with one.

    Args:
        points: the corners of the line.
        length: the length of a piece; longer if the line leaves the picture by far.
        thick: the extra width of a rectangle around its piece.

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
    """Return the heights closest to the wanted ones that are at least a gap apart.

    Args:
        wanted: one height for each label.
        gap: the least distance of two labels, reduced if there is too little room.
        least, most: the range of the heights.

    Example:
        >>> spread([1.0, 1.0, 9.0], 2.0, 0.0, 10.0)
        [0.0, 2.0, 9.0]
    """
    if not wanted:
        return []
    gap = min(gap, (most - least) / max(len(wanted) - 1, 1))
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    # Without the gaps, the heights just must not decrease. Replacing neighbours that would decrease
    # by their mean is isotonic regression, which minimises the sum of squared moves.
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
