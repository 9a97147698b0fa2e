"""Where the labels of a plot go, so that none covers another: plain geometry, no matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

DISTANCES = (7.0, 11.0, 16.0, 24.0, 34.0, 46.0, 60.0, 78.0)
"""How far from its mark a label may be, the nearest first."""

DIRECTIONS = 16
COVERED, CROWDED, FAR = 50.0, 4.0, 1.0
"""What it costs to cover a label or leave the plot, to cover a mark or a line, to be far."""


@dataclass(frozen=True)
class Box:
    """A rectangle, in the units of the picture.

    Example:
        >>> Box(0, 0, 2, 2).overlap(Box(1.5, 1.5, 5, 5))
        0.25
    """

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Box:
        """The rectangle of a size around a middle."""
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @property
    def middle(self) -> tuple[float, float]:
        """Where its diagonals meet."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.top - self.bottom)

    def overlap(self, other: Box) -> float:
        """The area that two rectangles share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0) * max(height, 0)


def beside(
    points: Sequence[tuple[float, float]],
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
        >>> one.overlap(two)
        0.0
    """
    placed: dict[int, Box] = {}
    for i in _crowded_first(points):
        candidates = list(_candidates(points[i], sizes[i]))
        labels = [*written, *placed.values()]
        costs = [_cost(box, far, labels, drawn, inside) for box, far in candidates]
        placed[i] = candidates[costs.index(min(costs))][0]
    return [placed[i] for i in range(len(points))]


def pieces(points: Sequence[tuple[float, float]], length: float, thick: float) -> list[Box]:
    """A broken line as small rectangles along it, and a point as one.

    Args:
        points: where the line goes through.
        length: how long a piece is at most.
        thick: how much wider than its piece a rectangle is.

    Example:
        >>> len(pieces([(0, 0), (10, 0)], 5, 2))
        2
    """
    boxes = [Box.around(*points[0], thick, thick)] if len(points) == 1 else []
    for (x, y), (u, v) in pairwise(points):
        count = max(1, math.ceil(math.dist((x, y), (u, v)) / length))
        across, up = (u - x) / count, (v - y) / count
        for i in range(count):
            middle = x + (i + 0.5) * across, y + (i + 0.5) * up
            boxes.append(Box.around(*middle, abs(across) + thick, abs(up) + thick))
    return boxes


def _crowded_first(points: Sequence[tuple[float, float]]) -> list[int]:
    """The marks in the order of how near the others are."""

    def loneliness(i: int) -> float:
        return sum(math.sqrt(math.dist(points[i], point)) for point in points)

    return sorted(range(len(points)), key=loneliness)


def _candidates(
    point: tuple[float, float], size: tuple[float, float]
) -> Iterator[tuple[Box, float]]:
    """The places around a mark: its nearest edge is so far away in each direction."""
    for distance in DISTANCES:
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * step / DIRECTIONS
            across, up = math.cos(angle), math.sin(angle)
            x = point[0] + across * (distance + size[0] / 2)
            y = point[1] + up * (distance + size[1] / 2)
            yield Box.around(x, y, *size), distance


def _cost(
    box: Box, distance: float, labels: Sequence[Box], drawn: Sequence[Box], inside: Box
) -> float:
    outside = box.area - box.overlap(inside)
    covered = sum(box.overlap(other) for other in labels)
    crowded = sum(box.overlap(other) for other in drawn)
    return COVERED * (outside + covered) + CROWDED * crowded + FAR * distance


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
