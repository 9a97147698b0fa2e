"""95 % intervals: the range of a figure over other texts of the same kind.

Texts are the units throughout, because the tokens of one text are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.metrics.positions import Sums

Interval = list[float]
"""The lower and the upper end."""

ROUNDS = 1000
NORMAL = 1.959964
"""The 97.5th percentile of the normal distribution."""


def mean_interval(
    sums: ArrayLike, counts: ArrayLike, seed: int = 0, rounds: int = ROUNDS
) -> Interval | None:
    """Return the percentile bootstrap interval of a mean over tokens, or of another ratio of sums.

    None if fewer than two texts have anything to count. All rows of a report are
    resampled with the same random numbers, so that their intervals compare.

    Args:
        sums: (texts,) the sum of the values of each text.
        counts: (texts,) the number of values of each text.
        seed: the random seed of the resampling.
        rounds: the number of resampled sets.

    Source: Efron 1979, Bootstrap methods: another look at the jackknife.

    Example:
        >>> mean_interval([2.0, 2.0, 2.0], [1, 1, 1])
        [2.0, 2.0]
        >>> low, high = mean_interval([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1])
        >>> 1 < low < 2.5 < high < 4
        True
    """
    return _percentiles(_means(sums, counts, seed, rounds))


def difference_interval(
    first: Sums, second: Sums, seed: int = 0, rounds: int = ROUNDS
) -> Interval | None:
    """Return the paired bootstrap interval of the difference of two means over the same texts.

    Text i of the first set and text i of the second are drawn together, so what they share, such
    as their contexts or their random numbers, cancels. None if `mean_interval` of either is.

    Args:
        first: (texts,) the sum of the values of each text, and (texts,) their number.
        second: those of the set that is subtracted, text by text.
        seed: the random seed of the resampling.
        rounds: the number of resampled sets.

    Example:
        >>> values = [1.0, 5.0, 2.0, 8.0]  # the second set is the first less 1, text by text
        >>> difference_interval((values, [1] * 4), ([value - 1 for value in values], [1] * 4))
        [1.0, 1.0]
    """
    means, other = _means(*first, seed, rounds), _means(*second, seed, rounds)
    return _percentiles(means - other) if len(means) == len(other) else None


def farther_interval(
    first: Sums, second: Sums, target: float, seed: int = 0, rounds: int = ROUNDS
) -> Interval | None:
    """Return the paired bootstrap interval of how much farther a mean is from a target.

    That is of |first - target| - |second - target|, for means over the same texts. None if
    `mean_interval` of either is.
    """
    means, other = _means(*first, seed, rounds), _means(*second, seed, rounds)
    if len(means) != len(other):
        return None
    return _percentiles(abs(means - target) - abs(other - target))


def _means(sums: ArrayLike, counts: ArrayLike, seed: int, rounds: int) -> NDArray[np.float64]:
    """The means of the resampled sets, nan for one with nothing to count; none of one text."""
    totals, numbers = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if np.count_nonzero(numbers) < 2:
        return np.empty(0)
    resampled = _resampled(len(totals), seed, rounds)
    with np.errstate(invalid="ignore"):
        return np.asarray((resampled @ totals) / (resampled @ numbers))


def _percentiles(values: NDArray[np.float64]) -> Interval | None:
    defined = values[~np.isnan(values)]
    return [float(end) for end in np.percentile(defined, (2.5, 97.5))] if len(defined) else None


def independent_difference(
    first: float, first_ends: Interval, second: float, second_ends: Interval
) -> Interval:
    """Return the interval of the difference of two figures of different texts.

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
    below = math.hypot(first - first_ends[0], second_ends[1] - second)
    above = math.hypot(first_ends[1] - first, second - second_ends[0])
    return [first - second - below, first - second + above]


# A report resamples its contexts and its generated texts in turn.
@lru_cache(maxsize=2)
def _resampled(texts: int, seed: int, rounds: int) -> NDArray[np.float64]:
    """Return how often each text is in each resampled set: (rounds, texts)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(texts, np.full(texts, 1 / texts), size=rounds).astype(np.float64)


def jackknife(whole: float | None, *left_out: Sequence[float | None]) -> Interval | None:
    """Return the jackknife interval of a figure of a whole set, from the set without each part.

    With several independent sets the figure is the mean over them.

    It suits figures that a bootstrap would bias: a set that holds a text twice is less diverse
    by that alone. None for fewer than two parts, or if the set without one has no figure.

    Args:
        whole: the figure of the whole set.
        left_out: for each set, its figure without each of its parts, which have the same size.

    Source: Tukey 1958, Bias and confidence in not-quite large samples.

    Example:
        >>> low, high = jackknife(2.0, [1.5, 2.0, 2.5])  # the mean of 1, 2 and 3
        >>> round((high - 2) / 1.96, 3)  # the standard error, 1 / sqrt(3)
        0.577
    """
    sets = [[value for value in each if value is not None] for each in left_out]
    missing = any(len(s) < max(len(each), 2) for s, each in zip(sets, left_out, strict=True))
    if whole is None or missing:
        return None
    variances = [(len(values) - 1) * float(np.var(values)) for values in sets]
    half = NORMAL * math.sqrt(math.fsum(variances)) / len(sets)
    return [whole - half, whole + half]


def share_interval(hits: int, n: int) -> Interval | None:
    """Return the score interval of a share of n texts, which has a width even at 0 and at 1.

    None if there is no text.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.

    Example:
        >>> [round(end, 3) for end in share_interval(0, 64)]
        [0.0, 0.057]
    """
    if n == 0:
        return None
    share, square = hits / n, NORMAL**2
    middle = share + square / (2 * n)
    half = NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    ends = ((middle + sign * half) / (1 + square / n) for sign in (-1, 1))
    return [min(max(end, 0.0), 1.0) for end in ends]
