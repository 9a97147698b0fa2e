"""Paired permutation tests of the difference of two ratios, such as two means over texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT = 12
"""The most pairs for which all exchanges are tried."""
DRAWS = 9999
"""The number of random exchanges for more pairs."""
MORE, RARE = 90_000, 10
"""The number of further exchanges, and the most hits, the observed pairs included, for which they
are tried: with hundreds of tests only p-values below 1 in 10,000 survive Holm's correction."""
BLOCK = 2**22
"""The most signs in memory at a time."""


def permutation_p_value(units: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a paired permutation test.

    With up to 12 pairs it is exact; with more, it is estimated from 9,999 random exchanges and the
    observed pairs, or from 99,999 if fewer than 10 of the first ones reach the difference. It stays
    valid, because more exchanges are tried only where the first p-value is the smaller one.

    Args:
        units: (2, 2, pairs) of both samplers the sum and the weights of each independent unit.

    Source: Besag and Clifford 1991, Sequential Monte Carlo p-values,
    doi 10.1093/biomet/78.2.301.

    Example:
        >>> ones, tops = np.ones(3), np.array([1.0, 2.0, 3.0])
        >>> permutation_p_value(np.array([[tops, ones], [0 * ones, ones]]))
        0.25
    """
    n = units.shape[2]
    # Sums in another order round differently.
    largest = np.abs(units[:, 0]).sum() / units[:, 1].sum()
    least = abs(float(difference_of_ratios(*units.sum(axis=2)))) - 1e-9 * largest
    if n <= EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(_exchanged(units, signs) >= least))
    random = np.random.default_rng(0)
    reached = 1 + _reached(random, units, least, DRAWS)
    if reached > RARE:
        return reached / (DRAWS + 1)
    return (reached + _reached(random, units, least, MORE)) / (DRAWS + MORE + 1)


def _reached(
    random: np.random.Generator, units: NDArray[np.float64], least: float, draws: int
) -> int:
    """Return how many random exchanges have a difference at least that far from 0."""
    reached, n = 0, units.shape[2]
    while draws:
        rows = min(draws, max(1, BLOCK // n))
        signs = 1 - 2 * random.integers(0, 2, size=(rows, n), dtype=np.int8)
        reached += int(np.sum(_exchanged(units, signs) >= least))
        draws -= rows
    return reached


def _exchanged(units: NDArray[np.float64], signs: NDArray[Any]) -> NDArray[np.float64]:
    """Return how far the figures are apart if the units with the sign -1 change places."""
    mean, half = units.mean(axis=0).sum(axis=1)[:, None], (units[0] - units[1]) @ signs.T / 2
    with np.errstate(divide="ignore", invalid="ignore"):  # one side may be left without a weight
        apart: NDArray[np.float64] = np.abs(difference_of_ratios(mean + half, mean - half))
    return np.nan_to_num(apart, nan=np.inf)


def difference_of_ratios(first: Any, second: Any) -> Any:
    """Return the difference of two ratios, each of a sum and its weights."""
    return first[0] / first[1] - second[0] / second[1]
