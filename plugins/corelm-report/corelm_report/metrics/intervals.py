"""Ratios of sums over texts, intervals of shares, and figures known only by their intervals.

Every other interval comes from an `Estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from corelm_report.metrics.estimates import NORMAL, Estimate, Interval
from corelm_report.metrics.quantiles import LEVEL, student, tails

Sums = tuple[Sequence[float], Sequence[float]]
"""Two numbers for each text; the figure is the ratio of their sums over all texts."""
Band = tuple[float, float]


def ratio(sums: Sums) -> float | None:
    """Divide the sum of the first numbers by the sum of the second; None if that is zero.

    Example:
        >>> ratio(([1.0, 2.0], [2, 4])), ratio(([], []))
        (0.5, None)
    """
    numerator, denominator = map(math.fsum, sums)
    return numerator / denominator if denominator else None


def total(values: Sequence[ArrayLike]) -> Sums:
    """Return the sums for the mean over all positions of all texts.

    Example:
        >>> ratio(total([[1.0, 3.0], [5.0]]))
        3.0
    """
    texts = [np.asarray(text, dtype=np.float64) for text in values]
    return [float(text.sum()) for text in texts], [len(text) for text in texts]


def drift(entropies: Sequence[ArrayLike]) -> Sums:
    """Return the sums for the drift: the least-squares slope of entropy by position.

    In nats per token, over all positions of all texts:
    sum (x - mean x)(y - mean y) / sum (x - mean x) ** 2.

    Args:
        entropies: the entropies of each text, from its first position on.

    Example:
        >>> ratio(drift([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]))
        2.0
    """
    y = [np.asarray(text, dtype=np.float64) for text in entropies]
    x = [np.arange(len(text)) for text in y]
    n = max(sum(map(len, y)), 1)
    middle_x, middle_y = (sum(float(part.sum()) for part in parts) / n for parts in (x, y))
    pairs = [(at - middle_x, text - middle_y) for at, text in zip(x, y, strict=True)]
    return [float(at @ text) for at, text in pairs], [float(at @ at) for at, _ in pairs]


def outside(entropies: Sequence[ArrayLike], band: Band) -> Sums:
    """Return the sums for the share of positions with an entropy outside a band.

    Source: Arora et al. 2023, The stable entropy hypothesis, arXiv 2302.06784.

    Args:
        entropies: the entropies of each text, in nats.
        band: its two ends, such as the 5th and the 95th percentile of human text.

    Example:
        >>> ratio(outside([[0.5, 1.0, 2.0, 9.0]], (1.0, 3.0)))
        0.5
    """
    values = [np.asarray(text, dtype=np.float64) for text in entropies]
    low, high = band
    return (
        [int(np.count_nonzero((text < low) | (text > high))) for text in values],
        [len(text) for text in values],
    )


def along_texts(
    surprisals: Sequence[ArrayLike], entropies: Sequence[ArrayLike], band: Band | None
) -> dict[str, Sums]:
    """Return the sums for figures of surprisals and entropies along texts.

    Args:
        surprisals: the surprisals of the tokens of each text, in nats.
        entropies: the model's entropy at each position of each text, in nats.
        band: the band of `outside`; None if it is unknown, which leaves the figure undefined.

    Example:
        >>> figures = along_texts([[1.0], [2.0]], [[0.5, 1.5], [2.5, 3.5]], (1.0, 3.0))
        >>> {name: ratio(sums) for name, sums in figures.items()}
        {'surprisal': 1.5, 'model_entropy': 2.0, 'entropy_drift': 1.0, 'outside_human_band': 0.5}
    """
    nothing = [0.0] * len(entropies)
    return {
        "surprisal": total(surprisals),
        "model_entropy": total(entropies),
        "entropy_drift": drift(entropies),
        "outside_human_band": outside(entropies, band) if band else (nothing, nothing),
    }


def by_position(values: Mapping[str, Sequence[Sequence[float]]]) -> list[dict[str, Any]]:
    """Return the means over texts at the first position, at the second, and so on.

    Args:
        values: by name, the values of each text; the same number under each name.

    Returns:
        For each position: its index, the number `n` of texts that reach it, and the mean for each
        name.

    Example:
        >>> by_position({"entropy": [[1.0, 2.0], [3.0]]})
        [{'position': 0, 'n': 2, 'entropy': 2.0}, {'position': 1, 'n': 1, 'entropy': 2.0}]
    """
    longest = max((len(text) for texts in values.values() for text in texts), default=0)
    columns = [
        {name: [text[i] for text in texts if len(text) > i] for name, texts in values.items()}
        for i in range(longest)
    ]
    return [
        {"position": i, "n": len(next(iter(column.values())))}
        | {name: float(np.mean(some)) for name, some in column.items()}
        for i, column in enumerate(columns)
    ]


LARGEST = 700.0
"""The largest exponent; `math.exp` overflows beyond 709."""
HALVINGS = 60
"""The steps of the bisection for a limit."""


def mean_interval(sums: ArrayLike, counts: ArrayLike) -> Interval | None:
    """Return the 95 % interval of a mean over the tokens of independent texts.

    None if fewer than 8 texts have values, or differ from the others, unless all are equal.

    Args:
        sums: (texts,) the sum of the values of each text.
        counts: (texts,) the number of values of each text.

    Example:
        >>> mean_interval([2.0] * 8, [1] * 8), mean_interval([1.0, 2.0, 3.0], [1, 1, 1])
        ([2.0, 2.0], None)
        >>> low, high = mean_interval([1.0, 2.0, 3.0, 4.0] * 2, [1] * 8)
        >>> 1 < low < 2.5 < high < 4
        True
    """
    found = Estimate.of_ratio("texts", sums, counts)
    return None if found is None else found.interval()


def perplexity(surprisal: float) -> float:
    """Return the exponential of a surprisal, without overflow."""
    return math.exp(min(surprisal, LARGEST))


def of_exponential(surprisal: Estimate) -> Estimate:
    """Return the perplexity of a mean surprisal."""
    value = perplexity(surprisal.value)
    return surprisal.moved(value, value)


def effective_number(hits: ArrayLike, counts: ArrayLike) -> float:
    """Return the number of independent texts that would give a share the same precision.

    Texts of one prompt are similar, so each says less. The similarity is itself estimated, from few
    units if a few prompts have most of the hits, so the number shrinks by the squared ratio of the
    normal to Student's quantile. At a share of 0 or 1 the similarity is unknown, so the units are
    counted.

    Source: Korn and Graubard 1998, Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data.

    Args:
        hits: (units,) the number of texts of each unit that have the property.
        counts: (units,) the number of its texts.

    Example:
        >>> round(effective_number([2, 0] * 20, [2] * 40), 1), effective_number([0] * 4, [9] * 4)
        (37.6, 4.0)
    """
    texts, n = float(np.sum(counts)), len(np.ravel(counts))
    found = Estimate.of_ratio("units", hits, counts)
    if texts == n or found is None:
        return texts
    share, variance = found.value, found.variance
    if not variance > 0:
        return texts if 0 < share < 1 else float(n)
    known = (NORMAL / student(0.975, found.freedom)) ** 2
    return min(max(share * (1 - share) / variance, float(n)), texts) * known


def share_interval(share: float | None, n: float, level: float = 1 - LEVEL) -> Interval | None:
    """Return the score interval of a share of n texts, which has a width even at 0 and at 1.

    Up to a few texts away from 0 or 1, its inner end comes from the Poisson distribution: a share
    of one text in eight may really be one in three hundred. None if there is no text.

    Args:
        share: the share; None if it is undefined.
        n: the number of independent texts.
        level: the probability that the interval holds the truth.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference;
    Brown, Cai and DasGupta 2001, Interval estimation for a binomial proportion,
    doi 10.1214/ss/1009213286 (the modified Wilson interval).

    Example:
        >>> [round(end, 3) for end in share_interval(0, 64)]
        [0.0, 0.057]
        >>> [round(end, 3) for end in share_interval(1 / 8, 8)]
        [0.006, 0.471]
    """
    if share is None or n == 0:
        return None
    z = student(1 - (1 - level) / 2, math.inf)
    square = z**2
    middle = share + square / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + square / n) for sign in (-1, 1))
    few = _poisson_limits(level, POISSON if level <= 1 - LEVEL else int(2 * square))
    low = min(low, _least(share * n, few) / n)
    high = max(high, 1 - _least((1 - share) * n, few) / n)
    return [min(max(end, 0.0), 1.0) for end in (low, high)]


POISSON = 3
"""The most hits whose lower limit is from the Poisson distribution, at 95 %. At a higher level,
where the score interval is too short for more hits, these are twice its squared quantile."""


def _least(hits: float, limits: Sequence[float]) -> float:
    """Return the lower limit of the expected hits if they are few, else the hits."""
    if hits >= len(limits):
        return hits
    return float(np.interp(hits, range(len(limits)), limits))


@lru_cache
def _poisson_limits(level: float, most: int) -> tuple[float, ...]:
    """Return the means whose chances of at least 0, 1, ... and `most` hits are 1 - `level`.

    Example:
        >>> [round(mean, 4) for mean in _poisson_limits(0.95, 3)]
        [0.0, 0.0513, 0.3554, 0.8177]
    """
    limits = [0.0]
    for hits in range(1, most + 1):
        low, high = 0.0, float(hits)
        for _ in range(HALVINGS):
            mean = (low + high) / 2
            fewer = math.exp(-mean) * math.fsum(mean**k / math.factorial(k) for k in range(hits))
            low, high = (mean, high) if 1 - fewer < 1 - level else (low, mean)
        limits.append(low)
    return tuple(limits)


@dataclass(frozen=True)
class KnownByInterval:
    """A figure known only by its interval, such as a share or a figure of an earlier report.

    The difference of two assumes independent texts.

    Source: Zou and Donner 2008, Construction of confidence limits about effect measures: a
    general approach (the method of variance estimates recovery).

    Attributes:
        value: the figure; None if it is undefined.
        ends: its 95 % interval; None if it has none.
        units: the number of independent units behind it, if known.

    Example:
        >>> apart = KnownByInterval(5.0, [2.0, 8.0], 10) - KnownByInterval(1.0, [-3.0, 5.0])
        >>> apart.value, apart.ends, round(apart.p_value(), 3)
        (4.0, [-1.0, 9.0], 0.104)
    """

    value: float | None
    ends: Interval | None
    units: int | None = None

    def __sub__(self, other: KnownByInterval) -> KnownByInterval:
        if self.value is None or other.value is None:
            return KnownByInterval(None, None)
        value, ends = self.value - other.value, None
        if self.ends is not None and other.ends is not None:
            below = math.hypot(self.value - self.ends[0], other.ends[1] - other.value)
            above = math.hypot(self.ends[1] - self.value, other.value - other.ends[0])
            ends = [value - below, value + above]
        return KnownByInterval(value, ends, self.units)

    def p_value(self) -> float | None:
        """Return the two-sided p-value for a true 0; below 5 % if the interval excludes 0."""
        if self.value is None or self.ends is None:
            return None
        half = self.value - self.ends[0] if self.value > 0 else self.ends[1] - self.value
        if self.value == 0 or half <= 0:
            return 1.0 if self.value == 0 else 0.0
        freedom = math.inf if self.units is None else max(self.units - 1, 1)
        return tails(abs(self.value) / half * student(0.975, freedom), freedom)


def of_interval(value: float, ends: Interval) -> Estimate:
    """Return an estimate from an interval, as if the error were normal."""
    return Estimate(value, noise=((ends[1] - ends[0]) / 2 / NORMAL) ** 2)


def sums_of(values: Sequence[float | None]) -> Sums:
    """Return the sums for the mean over the texts that have a value.

    Example:
        >>> sums_of([2.0, None, 4.0])
        ([2.0, 0.0, 4.0], [1, 0, 1])
    """
    return [value or 0.0 for value in values], [int(value is not None) for value in values]
