"""Marks on a plot: their form, their intervals, their range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from corelm.reports.render.plots.canvas import PAPER, TEAL
from corelm.reports.render.plots.rows import Point, Row, ends_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARK: dict[str, Any] = {"ms": 7, "mec": PAPER, "mew": 1.2}
DASHED, DOTTED = (0, (4, 2)), (0, (1, 2))


def cross(axes: Axes, row: Row, point: Point, across: str, up: str, view: str) -> None:
    """Draw the 95 % intervals of two figures through their point, if there are any."""
    x, y = point
    how: dict[str, Any] = {"color": TEAL, "lw": 1, "alpha": 0.6, "zorder": 4}
    if ends := ends_of(row, across, view):
        axes.plot(ends, [y, y], **how)
    if ends := ends_of(row, up, view):
        axes.plot([x, x], ends, **how)


def extent(axes: Axes, axis: int) -> tuple[float, float]:
    """Return the range of all lines and marks, from left to right (0) or from top to bottom (1)."""
    drawn = np.concatenate([np.asarray(line.get_xydata())[:, axis] for line in axes.lines])
    return float(drawn.min()), float(drawn.max())
