"""95 % intervals: the range of a figure over other texts of the same kind.

Texts or prompts are the units throughout (`metrics/sums.py`), because the tokens of one text are
not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm_report.metrics.sums import Sums

Interval = list[float]
"""The lower and the upper end."""

SEED, ROUNDS = 0, 1000
"""The random seed of the resampling, and the number of resampled sets."""
TOGETHER = 40
"""The number of resampled sets that are computed with at a time."""
LARGEST = 700.0
"""The largest exponent; `math.exp` overflows beyond 709."""
NORMAL = 1.959964
"""The 97.5th percentile of the normal distribution."""
FEWEST = 8
"""The number of independent units below which there is no interval: so few may be unusual."""
ROUNDING = 1e-12
"""The relative difference below which two sums are the same."""
FEW = 10
"""The number of units below which an interval is Student's: resampled sets of so few units hardly
leave their range."""


def mean_interval(sums: ArrayLike, counts: ArrayLike) -> Interval | None:
    """Return the bootstrap interval of a ratio of sums, such as a mean over tokens.

    None if fewer than `FEWEST` texts have anything to count or differ from the others, unless all
    are the same. All rows of a report are resampled with the same random numbers, so that their
    intervals compare. The percentiles are farther out than 2.5 and 97.5 if there are few texts, or
    if few of them decide the figure.

    Args:
        sums: (texts,) the sum of the values of each text.
        counts: (texts,) the number of values of each text.

    Source: Efron 1979, Bootstrap methods: another look at the jackknife; Hesterberg 2015, What
    teachers should know about the bootstrap, arXiv 1411.5279 (the expanded percentile interval).

    Example:
        >>> mean_interval([2.0] * 8, [1] * 8), mean_interval([1.0, 2.0, 3.0], [1, 1, 1])
        ([2.0, 2.0], None)
        >>> low, high = mean_interval([1.0, 2.0, 3.0, 4.0] * 2, [1] * 8)
        >>> 1 < low < 2.5 < high < 4
        True
    """
    if np.count_nonzero(counts) < FEWEST:
        return None
    means = resampled_means(sums, counts)
    return bootstrap_ends(mean_of(sums, counts), means, influence_of(sums, counts))


def difference_interval(first: Sums, second: Sums, exponential: bool = False) -> Interval | None:
    """Return the paired bootstrap interval of the difference of two means over the same texts.

    Text i of the first set and text i of the second are drawn together, so what they share, such
    as their contexts or their random numbers, cancels. None if `mean_interval` of either is.

    Args:
        first: (texts,) the sum of the values of each text, and (texts,) their number.
        second: the sums and counts of the set that is subtracted, text by text.
        exponential: True for the difference of the exponentials of the means, as perplexities are.

    Example:
        >>> values = [1.0, 5.0, 2.0, 8.0] * 2  # the second set is the first less 1, text by text
        >>> difference_interval((values, [1] * 8), ([value - 1 for value in values], [1] * 8))
        [1.0, 1.0]
    """
    if min(np.count_nonzero(counts) for _, counts in (first, second)) < FEWEST:
        return None
    sums = first, second
    values, influences = [mean_of(*each) for each in sums], [influence_of(*each) for each in sums]
    means = [resampled_means(*each) for each in sums]
    if exponential:
        values = [perplexity(value) for value in values]
        means = [np.exp(np.minimum(each, LARGEST)) for each in means]
        influences = [value * each for value, each in zip(values, influences, strict=True)]
    return bootstrap_ends(values[0] - values[1], means[0] - means[1], influences[0] - influences[1])


def perplexity(surprisal: float) -> float:
    """Return the exponential of a surprisal, without overflow."""
    return math.exp(min(surprisal, LARGEST))


def mean_of(sums: ArrayLike, counts: ArrayLike) -> float:
    """Return the ratio of two sums over texts."""
    return math.fsum(np.ravel(sums)) / math.fsum(np.ravel(counts))


def influence_of(sums: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """Return the share of each text in the deviation of a ratio of sums, to first order."""
    totals, numbers = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if not numbers.any():
        return np.zeros(len(totals))
    expected = totals.sum() / numbers.sum() * numbers
    share = (totals - expected) / numbers.sum()
    # Texts that differ by rounding alone do not differ.
    return np.where(np.isclose(totals, expected, rtol=ROUNDING, atol=0), 0.0, share)


def resampled_means(sums: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """Return the means of the resampled sets: nan for an empty one."""
    totals, numbers = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    means = []
    for times in _resampled(len(totals)):
        weights = times.astype(np.float64)
        with np.errstate(invalid="ignore"):
            means.append((weights @ totals) / (weights @ numbers))
    return np.concatenate(means)


def bootstrap_ends(
    value: float, values: NDArray[np.float64], influence: NDArray[np.float64]
) -> Interval | None:
    """Return the interval of a figure: Student's if few units have it, else percentiles.

    None if fewer than `FEWEST` units differ from the others: a figure that is 0 in nearly all
    texts says little about the next text.

    Args:
        value: the figure.
        values: the figure of the resampled sets; nan for one that lacks it.
        influence: the share of each unit in the figure's deviation, to first order.
    """
    n = len(influence)
    if _differing(influence) < FEWEST:
        return None
    if n < FEW:
        error = math.sqrt(n / (n - 1) * float(np.sum(influence**2)))
        half = _student(_freedom(influence)) * error
        return [value - half, value + half]
    defined = values[~np.isnan(values)]
    low = 100 * _tail(influence)
    return [float(end) for end in np.percentile(defined, (low, 100 - low))]


def _differing(values: NDArray[np.float64]) -> int:
    """Return how many values differ from the value of the majority; all without a majority."""
    most = int(np.unique(values, return_counts=True)[1].max(initial=0))
    n = len(values)
    return n - most if n < 2 * most < 2 * n else n


def _tail(influence: NDArray[np.float64]) -> float:
    """Return the share of resampled figures to leave out at each end.

    The bootstrap's variance is too small by (n - 1) / n, and is itself uncertain, the more so where
    a few texts decide the figure, which their kurtosis shows. So Student's quantile replaces the
    normal one, with n - 1 degrees of freedom or fewer.
    """
    n = len(influence)
    if not influence.any():
        return 0.025
    quantile = _student(_freedom(influence)) * math.sqrt(n / (n - 1))
    return math.erfc(quantile / math.sqrt(2)) / 2


def _freedom(influence: NDArray[np.float64]) -> float:
    """Return the degrees of freedom of a variance: n - 1, or fewer if a few units decide it."""
    n, second = len(influence), float(np.mean(influence**2))
    if second == 0:
        return n - 1
    # With v degrees of freedom a variance has the relative variance 2 / v; measured over n units it
    # has (kurtosis - 1) / n.
    excess = float(np.mean((influence / math.sqrt(second)) ** 4)) - 1
    return max(min(2 * n / excess if excess > 0 else n, n - 1), 1)


def _student(freedom: float) -> float:
    """Return the 97.5th percentile of Student's t, by its expansion around the normal one."""
    z, v = NORMAL, freedom
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + first + second + third


# A report resamples its contexts and its generated texts in turn.
@lru_cache(maxsize=2)
def _resampled(texts: int) -> list[NDArray[np.uint8]]:
    """Return how often each text is in each resampled set: parts of (sets, texts)."""
    rng, shares = np.random.default_rng(SEED), np.full(texts, 1 / texts)
    sizes = [min(TOGETHER, ROUNDS - first) for first in range(0, ROUNDS, TOGETHER)]
    # In bytes, an eighth of the memory: a text is drawn once on average, never 256 times.
    return [rng.multinomial(texts, shares, size).astype(np.uint8) for size in sizes]


def jackknife(whole: float | None, *left_out: Sequence[float | None]) -> Interval | None:
    """Return the jackknife interval of a figure of a whole set, from the set without each part.

    With several independent sets the figure is the mean over them.

    It suits figures that a bootstrap would bias: a set that holds a text twice is less diverse
    by that alone. None for fewer than eight parts, or if the set without one has no figure.

    Args:
        whole: the figure of the whole set.
        left_out: for each set, its figure without each of its parts, which have the same size.

    Source: Tukey 1958, Bias and confidence in not-quite large samples.

    Example:
        >>> without = [(36 - value) / 8 for value in range(9)]  # the mean of 0 to 8
        >>> low, high = jackknife(4.0, without)
        >>> round((high - 4) / 2.306, 2)  # the standard error, sqrt(7.5 / 9), by t of 8 degrees
        0.91
    """
    variances = [jackknife_variance(each) for each in left_out]
    known = [variance for variance in variances if variance is not None]
    if whole is None or len(known) < len(variances):
        return None
    if sum(_differing(np.array(each, np.float64)) for each in left_out) < FEWEST:
        return None
    freedom = sum(map(len, left_out)) - len(left_out)
    half = _student(freedom) * math.sqrt(math.fsum(known)) / len(known)
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


def effective_number(hits: ArrayLike, counts: ArrayLike) -> float:
    """Return the number of independent texts that are worth as much as some units for a share.

    Texts of one prompt are alike, so many of them say less. Their likeness is itself measured, and
    by few units if a few prompts have most of the hits, so the number shrinks by the squared ratio
    of the normal quantile to Student's. At a share of 0 or 1 their likeness is unknown, so the
    units are counted.

    Source: Korn and Graubard 1998, Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data.

    Args:
        hits: (units,) the number of texts of each unit that have the property.
        counts: (units,) the number of its texts.

    Example:
        >>> round(effective_number([2, 0] * 20, [2] * 40), 1), effective_number([0] * 4, [9] * 4)
        (37.6, 4.0)
    """
    influence, texts = influence_of(hits, counts), float(np.sum(counts))
    n = len(influence)
    if texts == n or n == 0:
        return texts
    share = float(np.sum(hits)) / texts if texts else 0.0
    variance = n / max(n - 1, 1) * float(np.sum(influence**2))
    if variance == 0:
        return texts if 0 < share < 1 else float(n)
    known = (NORMAL / _student(_freedom(influence))) ** 2
    return min(max(share * (1 - share) / variance, float(n)), texts) * known


def share_interval(share: float | None, n: float) -> Interval | None:
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
