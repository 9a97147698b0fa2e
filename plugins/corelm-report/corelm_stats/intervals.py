"""Quantiles, scales and intervals of shares, and ratios of sums over texts.

`Estimate.interval` in estimates.py computes all other intervals, over the units of inference.py.

An interval for a fixed number of units is not valid if one looks after each batch and stops when
the result pleases: sooner or later it excludes the true value. In 95 of 100 studies, all intervals
of a confidence sequence contain the true value, so the interval at which a study stops does too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

Interval = list[float]
"""The lower and the upper end."""


# ---- quantiles, and the scales of errors ----


def student(share: float, freedom: float) -> float:
    """Return a quantile of Student's t from the normal quantile.

    Source: Wallace 1959, Bounds on normal approximations to Student's and the chi-square
    distributions.

    Example:
        >>> round(student(0.975, 10), 2), round(student(0.975, math.inf), 2)
        (2.23, 1.96)
    """
    z = NormalDist().inv_cdf(share)
    if math.isinf(freedom):
        return z
    z *= (8 * freedom + 3) / (8 * freedom + 1)
    return math.copysign(math.sqrt(freedom * math.expm1(min(z * z / freedom, 700.0))), z)


def tails(t: float, freedom: float) -> float:
    """Return the chance of a value of Student's t at least as far from 0, on either side.

    Example:
        >>> round(tails(student(0.975, 7), 7), 6), tails(0.0, 7)
        (0.05, 1.0)
    """
    size = abs(t)
    if not math.isinf(freedom):
        ratio = (8 * freedom + 1) / (8 * freedom + 3)
        size = math.sqrt(freedom * math.log1p(t * t / freedom)) * ratio
    return math.erfc(size / math.sqrt(2))


def chi_square(share: float, freedom: float) -> float:
    """Return a quantile of the chi-square distribution, approximately.

    The exact quantiles of the example are 6.26 and 27.49.

    Source: Wilson and Hilferty 1931, The distribution of chi-square.

    Example:
        >>> [round(chi_square(share, 15), 2) for share in (0.025, 0.975)]
        [6.24, 27.49]
    """
    part = 2 / (9 * freedom)
    return freedom * max(1 - part + NormalDist().inv_cdf(share) * math.sqrt(part), 0.01) ** 3


LEVEL = 0.05
"""The probability that an interval misses the truth."""


BEST_AT = 100
"""The number of units for which the intervals of means are tuned to be narrowest."""


RHO = (-2 * math.log(LEVEL) + math.log(-2 * math.log(LEVEL)) + 1) / BEST_AT


def anytime_reach(units: int, level: float, freedom: float) -> float:
    """Return the half-width of a mean's interval, in standard errors.

    Asymptotic, like the interval for a fixed number of units; Student's quantile replaces
    the normal one as it does there.

    Args:
        units: the number of independent units so far.
        level: the chance that all intervals contain the true value.
        freedom: the degrees of freedom of the standard error.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Time-uniform central limit theory
    and asymptotic confidence sequences, doi 10.1214/24-AOS2408.

    Example:
        >>> [round(anytime_reach(units, 0.95, math.inf), 2) for units in (100, 10_000)]
        [3.04, 3.58]
    """
    grown = units * RHO
    normal = math.sqrt(2 * (grown + 1) / grown * math.log(math.sqrt(grown + 1) / (1 - level)))
    return normal * _widened(freedom)


def anytime_p_value(z: float, units: int, freedom: float) -> float:
    """Return a p-value that stays valid at every look: the level whose interval just excludes 0.

    Args:
        z: the figure divided by its standard error.
        units: the number of independent units so far.
        freedom: the degrees of freedom of the standard error.

    Example:
        >>> [round(anytime_p_value(z, 50, 20), 6) for z in (anytime_reach(50, 0.95, 20), 0.0)]
        [0.05, 1.0]
    """
    grown = units * RHO
    size = (z / _widened(freedom)) ** 2 * grown / (2 * (grown + 1))
    return min(math.sqrt(grown + 1) * math.exp(-size), 1.0)


def _widened(freedom: float) -> float:
    return student(0.975, freedom) / student(0.975, math.inf)


@dataclass(frozen=True)
class FigureScale:
    """A scale on which a figure's error is more symmetric.

    Attributes:
        to: from the figure to the scale.
        back: from the scale to the figure.
        slope: the derivative of `to` at a value of the figure.
        symmetric: True if the error needs no correction for skewness.
    """

    to: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    symmetric: bool = False


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


IDENTITY = FigureScale(float, float, lambda _: 1.0)


SYMMETRIC = FigureScale(float, float, lambda _: 1.0, symmetric=True)
"""The scale of `zipf`. In a few units the skewness of its error is mere chance: correcting for it
made intervals up to four times as wide, and no more of them contained the true value."""


LOGIT = FigureScale(lambda p: math.log(p / (1 - p)), _sigmoid, lambda p: 1 / (p * (1 - p)))
"""The log odds, for a share: near 0 and 1 a share varies more towards the middle."""


RECIPROCAL = FigureScale(
    lambda x: 1 / x, lambda y: 1 / y if y > 0 else math.inf, lambda x: -1 / (x * x)
)
"""The reciprocal, for a ratio of sizes whose denominator is a sum over texts, as in
`compression`."""


def of_difference(scale: FigureScale) -> FigureScale:
    """Return the scale of the difference of two figures."""
    return scale if scale.symmetric else IDENTITY


# ---- sums over texts ----


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


HALVINGS = 60
"""The steps of the bisection for a limit, enough for the last bit of a float64."""


def bisected(
    inside: float, outside: float, is_outside: Callable[[float], bool], steps: int = HALVINGS
) -> tuple[float, float]:
    """Move a value inside a range and one outside it towards each other, to the range's end.

    Example:
        >>> [round(end, 6) for end in bisected(0.0, 9.0, lambda x: x > 2)]
        [2.0, 2.0]
    """
    for _ in range(steps):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if is_outside(middle) else (middle, outside)
    return inside, outside


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
    """Return the expected hits' lower limit where hits are few; otherwise the hits themselves."""
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
        counts = range(hits)

        def reaches(mean: float, counts: range = counts) -> bool:
            fewer = math.exp(-mean) * math.fsum(mean**k / math.factorial(k) for k in counts)
            return not 1 - fewer < 1 - level

        limits.append(bisected(0.0, float(hits), reaches)[0])
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
