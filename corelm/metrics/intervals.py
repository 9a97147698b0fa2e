"""95 % intervals: the range of a figure over other texts of the same kind.

Texts are the units throughout, because the tokens of one text are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interval = list[float]
"""The lower and the upper end."""

ROUNDS = 1000
NORMAL = 1.959964
"""The 97.5th percentile of the normal distribution."""


def mean_interval(
    sums: ArrayLike, counts: ArrayLike, seed: int = 0, rounds: int = ROUNDS
) -> Interval | None:
    """Return the percentile bootstrap interval of a mean over tokens, or of another ratio of sums.

    None for fewer than two texts, or if none has anything to count. All rows of a report are
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
    totals, numbers = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if len(totals) < 2 or not numbers.any():
        return None
    resampled = _resampled(len(totals), seed, rounds)
    numbers = resampled @ numbers
    means = (resampled @ totals)[numbers > 0] / numbers[numbers > 0]
    return [float(end) for end in np.percentile(means, (2.5, 97.5))]


@lru_cache(maxsize=1)
def _resampled(texts: int, seed: int, rounds: int) -> NDArray[np.float64]:
    """Return how often each text is in each resampled set: (rounds, texts)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(texts, np.full(texts, 1 / texts), size=rounds).astype(np.float64)


def jackknife(whole: float | None, left_out: Sequence[float | None]) -> Interval | None:
    """Return the jackknife interval of a figure of a whole set, from the set without each part.

    It suits figures that a bootstrap would bias: a set that holds a text twice is less diverse
    by that alone. None for fewer than two parts, or if the set without one has no figure.

    Args:
        whole: the figure of the whole set.
        left_out: the figure of the set without each of its parts, which have the same size.

    Source: Tukey 1958, Bias and confidence in not-quite large samples.

    Example:
        >>> low, high = jackknife(2.0, [1.5, 2.0, 2.5])  # the mean of 1, 2 and 3
        >>> round((high - 2) / 1.96, 3)  # the standard error, 1 / sqrt(3)
        0.577
    """
    values = [value for value in left_out if value is not None]
    if whole is None or len(values) < max(len(left_out), 2):
        return None
    half = NORMAL * math.sqrt((len(values) - 1) * float(np.var(values)))
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
