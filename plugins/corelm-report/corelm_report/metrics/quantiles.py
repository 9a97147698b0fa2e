"""Quantiles and tail probabilities: of Student's t, and of intervals that hold at every look.

An interval for a fixed number of units is not valid if one looks after each batch and stops when
the result pleases: sooner or later it excludes the true value. In 95 of 100 studies, all intervals
of a confidence sequence contain the true value, so the interval at which a study stops does too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist


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


LEVEL = 0.05
"""The probability that an interval misses the truth."""
BEST_AT = 100
"""The number of units for which the intervals of means are tuned to be narrowest."""
RHO = (-2 * math.log(LEVEL) + math.log(-2 * math.log(LEVEL)) + 1) / BEST_AT
HALVINGS = 60
"""The steps of the bisection for an interval's end, enough for the last bit of a float64."""


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


def anytime_share_interval(values: Sequence[float], level: float = 1 - LEVEL) -> list[float]:
    """Return the interval of the mean of values between 0 and 1, for any number of them.

    Not asymptotic: it is valid for every distribution of the values. It mixes Bernoulli likelihoods
    over a uniform prior, which is valid for all variables between 0 and 1.

    Args:
        values: one for each independent unit.
        level: the chance that all intervals contain the true value.

    Source: Howard, Ramdas, McAuliffe and Sekhon 2021, Time-uniform, nonparametric, nonasymptotic
    confidence sequences, doi 10.1214/20-AOS1991 (the beta-binomial mixture).

    Example:
        >>> [round(end, 3) for end in anytime_share_interval([0.0] * 64)]
        [0.0, 0.106]
    """
    n, hits = len(values), math.fsum(values)
    if n == 0:
        return [0.0, 1.0]
    mixture = math.lgamma(hits + 1) + math.lgamma(n - hits + 1) - math.lgamma(n + 2)

    def excluded(p: float) -> bool:
        likelihood = _times(hits, p) + _times(n - hits, 1 - p)
        return mixture - likelihood >= -math.log(1 - level)

    mean = hits / n
    return [_end(mean, 0.0, excluded), _end(mean, 1.0, excluded)]


def _times(count: float, p: float) -> float:
    """Return count x ln p."""
    if count == 0:
        return 0.0
    return count * math.log(p) if p > 0 else -math.inf


def _end(inside: float, outside: float, excluded: Callable[[float], bool]) -> float:
    """Bisect from `inside` to `outside` for the last value that is not excluded."""
    if not excluded(outside):
        return outside
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if excluded(middle) else (middle, outside)
    return inside
