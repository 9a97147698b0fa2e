"""Student's t distribution: quantiles and tail probabilities to three digits, without SciPy."""

from __future__ import annotations

import math
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
