"""95 % intervals: the range of a figure over other texts of the same kind.

Texts are the units throughout, because the tokens of one text are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.reports.metrics.positions import Sums

Interval = list[float]
"""The lower and the upper end."""

ROUNDS = 1000
TOGETHER = 40
"""The number of resampled sets that are computed with at a time."""
NORMAL = 1.959964
"""The 97.5th percentile of the normal distribution."""


def mean_interval(
    sums: ArrayLike, counts: ArrayLike, seed: int = 0, rounds: int = ROUNDS
) -> Interval | None:
    """Return the bootstrap interval of a mean over tokens, or of another ratio of sums.

    None if fewer than two texts have anything to count. All rows of a report are resampled with
    the same random numbers, so that their intervals compare. The percentiles are farther out than
    2.5 and 97.5 if there are few texts, or if few of them decide the figure.

    Args:
        sums: (texts,) the sum of the values of each text.
        counts: (texts,) the number of values of each text.
        seed: the random seed of the resampling.
        rounds: the number of resampled sets.

    Source: Efron 1979, Bootstrap methods: another look at the jackknife; Hesterberg 2015, What
    teachers should know about the bootstrap, arXiv 1411.5279 (the expanded percentile interval).

    Example:
        >>> mean_interval([2.0, 2.0, 2.0], [1, 1, 1])
        [2.0, 2.0]
        >>> low, high = mean_interval([1.0, 2.0, 3.0, 4.0] * 2, [1] * 8)
        >>> 1 < low < 2.5 < high < 4
        True
    """
    return _percentiles(_means(sums, counts, seed, rounds), _influence(sums, counts))


def difference_interval(
    first: Sums, second: Sums, seed: int = 0, rounds: int = ROUNDS
) -> Interval | None:
    """Return the paired bootstrap interval of the difference of two means over the same texts.

    Text i of the first set and text i of the second are drawn together, so what they share, such
    as their contexts or their random numbers, cancels. None if `mean_interval` of either is.

    Args:
        first: (texts,) the sum of the values of each text, and (texts,) their number.
        second: the sums and counts of the set that is subtracted, text by text.
        seed: the random seed of the resampling.
        rounds: the number of resampled sets.

    Example:
        >>> values = [1.0, 5.0, 2.0, 8.0]  # the second set is the first less 1, text by text
        >>> difference_interval((values, [1] * 4), ([value - 1 for value in values], [1] * 4))
        [1.0, 1.0]
    """
    means, other = _means(*first, seed, rounds), _means(*second, seed, rounds)
    if len(means) != len(other):
        return None
    return _percentiles(means - other, _influence(*first) - _influence(*second))


class Best(NamedTuple):
    """The best of several settings.

    Attributes:
        chosen: the index of the setting.
        value: its mean, less what its choice has gained by chance.
        ends: the interval of its mean, moved by the same amount.
    """

    chosen: int
    value: float
    ends: Interval


def best_of(settings: Sequence[Sums], target: float, seed: int = 0) -> Best | None:
    """Return the setting whose mean is closest to a target, corrected for its having been chosen.

    The best of many settings owes a part of its figure to chance, the more the more were tried.
    The bootstrap repeats the choice: in every resampled set the best setting is chosen again, and
    the error of its mean is noted. The average of these errors is the gain; the mean and its
    interval are moved back by it. The true means of the settings differ less than the measured
    ones, whose noise adds to their variance; the resampled ones are centred accordingly.

    Args:
        settings: for each setting, (texts,) the sums and the counts of the same texts.
        target: the value that is best.
        seed: the random seed of the resampling.

    Returns:
        None if a setting has no interval, or if the numbers of texts differ.

    Source: the concern is from Turning Down the Heat, arXiv 2506.13681; Efron 2014, Estimation
    and accuracy after model selection.

    Example:
        >>> texts = [1.0, 2.0, 3.0, 4.0]
        >>> best_of([(texts, [1] * 4), ([value + 9 for value in texts], [1] * 4)], 3.0).chosen
        0
    """
    columns = [_means(*sums, seed, ROUNDS) for sums in settings]
    if len({len(column) for column in columns}) != 1 or not len(columns[0]):
        return None
    means, resampled = np.array([_mean(sums) for sums in settings]), np.column_stack(columns)
    errors = resampled - means
    noise = float(np.var(errors - errors.mean(axis=1, keepdims=True), axis=0).mean())
    spread = float(np.var(means))
    kept = math.sqrt(max(1 - noise / spread, 0)) if spread else 0.0
    centres = means.mean() + kept * (means - means.mean())
    chosen = np.abs(centres + errors - target).argmin(axis=1)
    gained = float(errors[np.arange(len(errors)), chosen].mean())
    index = int(np.abs(means - target).argmin())
    ends = _percentiles(resampled[:, index], _influence(*settings[index]))
    if ends is None:
        return None
    # A chosen mean varies less than a fixed one, and less still if many settings are about as
    # good; but nobody knows how many are, so the interval keeps its width.
    return Best(index, float(means[index]) - gained, [end - gained for end in ends])


def _mean(sums: Sums) -> float:
    return math.fsum(sums[0]) / math.fsum(sums[1])


def _influence(sums: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """Return the share of each text in the deviation of a ratio of sums, to first order."""
    totals, numbers = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if not numbers.any():
        return np.zeros(len(totals))
    return np.asarray((totals - totals.sum() / numbers.sum() * numbers) / numbers.sum())


def _means(sums: ArrayLike, counts: ArrayLike, seed: int, rounds: int) -> NDArray[np.float64]:
    """Return the means of the resampled sets: nan for an empty one, no means for a single text."""
    totals, numbers = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if np.count_nonzero(numbers) < 2:
        return np.empty(0)
    means = []
    for times in _resampled(len(totals), seed, rounds):
        weights = times.astype(np.float64)
        with np.errstate(invalid="ignore"):
            means.append((weights @ totals) / (weights @ numbers))
    return np.concatenate(means)


def _percentiles(values: NDArray[np.float64], influence: NDArray[np.float64]) -> Interval | None:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low = 100 * _tail(influence)
    return [float(end) for end in np.percentile(defined, (low, 100 - low))]


def _tail(influence: NDArray[np.float64]) -> float:
    """Return the share of resampled figures to leave out at each end.

    The bootstrap's variance is too small by (n - 1) / n, and is itself uncertain: as much as that
    of n - 1 texts, or of fewer where a few texts decide the figure, which their kurtosis shows.
    So the normal quantile becomes that of Student's t with as many degrees of freedom.
    """
    n, second = len(influence), float(np.mean(influence**2))
    if second == 0:
        return 0.025
    excess = float(np.mean((influence / math.sqrt(second)) ** 4)) - 1
    freedom = max(min(2 * n / excess if excess > 0 else n, n - 1), 1)
    return math.erfc(_student(freedom) * math.sqrt(n / (n - 1)) / math.sqrt(2)) / 2


def _student(freedom: float) -> float:
    """Return the 97.5th percentile of Student's t, by its expansion around the normal one."""
    z, v = NORMAL, freedom
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + first + second + third


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


# A report resamples its contexts and its generated texts in turn.
@lru_cache(maxsize=2)
def _resampled(texts: int, seed: int, rounds: int) -> list[NDArray[np.uint8]]:
    """Return how often each text is in each resampled set: parts of (sets, texts)."""
    rng, shares = np.random.default_rng(seed), np.full(texts, 1 / texts)
    sizes = [min(TOGETHER, rounds - first) for first in range(0, rounds, TOGETHER)]
    # In bytes, an eighth of the memory: a text is drawn once on average, never 256 times.
    return [rng.multinomial(texts, shares, size).astype(np.uint8) for size in sizes]


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
    variances = [jackknife_variance(each) for each in left_out]
    known = [variance for variance in variances if variance is not None]
    if whole is None or len(known) < len(variances):
        return None
    half = NORMAL * math.sqrt(math.fsum(known)) / len(known)
    return [whole - half, whole + half]


def jackknife_variance(left_out: Sequence[float | None]) -> float | None:
    """Return the variance of a figure of a set; None if it is undefined or there is one part.

    Args:
        left_out: the figure without each of the parts of the set, which have the same size.
    """
    known = [value for value in left_out if value is not None]
    if len(known) < max(len(left_out), 2):
        return None
    return (len(known) - 1) * float(np.var(known))


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
    low, high = limits or (-math.inf, math.inf)
    return [min(max(end, low), high) for end in (middle - half, middle + half)]


def share_interval(share: float | None, n: int) -> Interval | None:
    """Return the score interval of a share of n texts, which has a width even at 0 and at 1.

    None if there is no text.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.

    Example:
        >>> [round(end, 3) for end in share_interval(0, 64)]
        [0.0, 0.057]
    """
    if share is None or n == 0:
        return None
    square = NORMAL**2
    middle = share + square / (2 * n)
    half = NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    ends = ((middle + sign * half) / (1 + square / n) for sign in (-1, 1))
    return [min(max(end, 0.0), 1.0) for end in ends]
