"""The ends of axes and their ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corelm.reports.document.numbers import MINUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """Return the ends of an axis that shows a range with some room at both sides.

    Example:
        >>> padded(1.0, 2.0, 0.5), padded(0.0, 0.0)
        ((0.5, 2.5), (-0.06, 0.06))
    """
    size = max(abs(low), abs(high), 1)
    span = high - low if high - low > 1e-6 * size else size
    return low - share * span, high + share * span


def within(least: float, most: float, ends: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of an axis, moved to where values can be if they are beyond it.

    Example:
        >>> within(0, 1, (0.5, 1.03)), within(0, 1, (2.0, 3.0))
        ((0.5, 1), (2.0, 3.0))
    """
    low, high = max(ends[0], least), min(ends[1], most)
    return (low, high) if low < high else ends


def shorten_ticks(axes: Axes) -> None:
    """Write the ticks of both axes with the fewest digits: 0, 0.5, 1."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: tick(value))


def tick(value: float) -> str:
    """Return the text of a tick.

    Example:
        >>> tick(-0.50), tick(3 * 0.1), tick(1500.0)
        ('\N{MINUS SIGN}0.5', '0.3', '1500')
    """
    return f"{value:.6g}".replace("-", MINUS)
