"""Intervals that follow from other intervals: of differences, with a further error, of ratios."""

from __future__ import annotations

import math

from corelm.reports.metrics.intervals import NORMAL, Interval


def independent_difference(
    first: float | None,
    first_ends: Interval | None,
    second: float | None,
    second_ends: Interval | None,
) -> Interval | None:
    """Return the interval of the difference of two figures of different texts.

    None if either figure is undefined or has no interval.

    Source: Zou and Donner 2008, Construction of confidence limits about effect measures: a
    general approach (the method of variance estimates recovery).

    Args:
        first: the first figure.
        first_ends: its interval.
        second: the figure that is subtracted.
        second_ends: its interval.

    Example:
        >>> independent_difference(5.0, [2.0, 8.0], 1.0, [-3.0, 5.0])
        [-1.0, 9.0]
    """
    if first is None or first_ends is None or second is None or second_ends is None:
        return None
    below = math.hypot(first - first_ends[0], second_ends[1] - second)
    above = math.hypot(first_ends[1] - first, second - second_ends[0])
    return [first - second - below, first - second + above]


def widened(
    ends: Interval | None, variance: float, limits: tuple[float, float] | None = None
) -> Interval | None:
    """Return an interval that holds a further, independent error too.

    Args:
        ends: the interval.
        variance: the variance of the further error.
        limits: the least and the largest value of the figure, where the interval ends.

    Example:
        >>> [round(end, 3) for end in widened([0.5, 0.9], 0.01, (0.0, 1.0))]
        [0.42, 0.98]
    """
    if ends is None:
        return None
    middle, half = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    half = math.hypot(half, NORMAL * math.sqrt(variance))
    return within([middle - half, middle + half], limits)


def within(ends: Interval | None, limits: tuple[float, float] | None) -> Interval | None:
    """Return the part of an interval that a figure may have; all of it without limits.

    Example:
        >>> within([0.9, 1.1], (0.0, 1.0)), within([0.9, 1.1], None)
        ([0.9, 1.0], [0.9, 1.1])
    """
    if ends is None or limits is None:
        return ends
    low, high = limits
    return [min(max(end, low), high) for end in ends]


def on_logit_scale(value: float | None, ends: Interval | None) -> Interval | None:
    """Return a symmetric interval of a value between 0 and 1, on the scale of its log odds.

    Close to 0 and 1 a figure varies more on the side of the middle, and cannot go beyond.

    Example:
        >>> [round(end, 3) for end in on_logit_scale(0.9, [0.75, 1.05])]
        [0.63, 0.979]
    """
    if value is None or ends is None or not 0 < value < 1:
        return ends
    middle, half = math.log(value / (1 - value)), (ends[1] - ends[0]) / 2 / (value * (1 - value))
    return [1 / (1 + math.exp(-(middle + sign * half))) for sign in (-1, 1)]


def on_reciprocal_scale(value: float | None, ends: Interval | None) -> Interval | None:
    """Return a symmetric interval of a ratio of sizes, on the scale of the reciprocal.

    The texts of a set add to its compressed size, the denominator of compression, whose error is
    symmetric. None if the interval of the reciprocal reaches 0.

    Example:
        >>> on_reciprocal_scale(2.0, [1.5, 2.5])
        [1.6, 2.6666666666666665]
    """
    if value is None or ends is None:
        return ends
    relative = (ends[1] - ends[0]) / 2 / value
    return [value / (1 + relative), value / (1 - relative)] if relative < 1 else None
