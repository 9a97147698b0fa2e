"""Tests of counts against an exact distribution: likelihood-ratio tests, exact for small counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from corelm_probe.evidence import CountedDraws

ENOUGH = 20.0
"""The least expected count at which the chi-square distribution fits well enough."""
SIMULATIONS = 19_999
EXCEEDANCES = 20
"""A simulation stops after this many results as extreme as the counts: the p-value is large
anyway."""
AT_ONCE = 2_000_000
"""The most simulated counts in memory."""


@dataclass(frozen=True)
class StageTest:
    """The test of the draws of one stage.

    Attributes:
        stage: the draws, in words.
        draws: the number of draws.
        contexts: the number of different distributions of the draws.
        p_value: the probability of counts at least as extreme, before a correction.
        exact: True if the p-value was simulated, False for a chi-square probability.
        worst: the draws that fit worst, in words: the token and its counts.
    """

    stage: str
    draws: int
    contexts: int
    p_value: float
    exact: bool
    worst: str


def stage_tests(cells: Iterable[CountedDraws], words: Sequence[str], seed: int) -> list[StageTest]:
    """Test the draws of each stage against the distributions of a chain.

    Args:
        cells: the draws with equal distributions; cells of one stage follow each other.
        words: the text of each token, for `worst`.
        seed: decides the simulations.
    """
    rng = np.random.default_rng([seed, 0x9B0BE])
    return [
        _test_stage(stage, list(group), words, rng)
        for stage, group in groupby(cells, lambda cell: cell.stage)
    ]


def _test_stage(
    stage: str, cells: Sequence[CountedDraws], words: Sequence[str], rng: np.random.Generator
) -> StageTest:
    counts = np.stack([cell.counts for cell in cells])
    p = np.stack([cell.probabilities for cell in cells])
    p_value, exact = g_test(counts, p, rng)
    worst = _worst(cells, counts, p, words)
    return StageTest(stage, int(counts.sum()), len(cells), p_value, exact, worst)


def g_test(
    counts: NDArray[np.int64], p: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, bool]:
    """Return the p-value of a likelihood-ratio test, and True if it is exact.

    For small counts it simulates multinomial counts, which is exact: the p-value is at most the
    level with at most the level's probability. A simulation with a large p-value ends early.

    Source: Besag and Clifford 1991, Sequential Monte Carlo p-values.

    Args:
        counts: (rows, tokens).
        p: (rows, tokens), the probabilities; each row sums to 1.
        rng: the generator of the simulations.
    """
    if counts[p == 0].any():
        return 0.0, True  # an impossible token
    p = p / p.sum(axis=1, keepdims=True)
    n = counts.sum(axis=1)
    expected = n[:, None] * p
    g = float(_statistic(counts, expected))
    if expected[p > 0].min() >= ENOUGH:
        from scipy.stats import chi2

        freedom = np.count_nonzero(p) - len(p)
        return float(chi2.sf(g, freedom)) if freedom else 1.0, False
    return _simulated(g, n, p, expected, rng), True


def _simulated(
    g: float,
    n: NDArray[np.int64],
    p: NDArray[np.float64],
    expected: NDArray[np.float64],
    rng: np.random.Generator,
) -> float:
    """Return the share of simulated counts with a statistic of at least `g`."""
    done = as_extreme = 0
    block = 50
    while done < SIMULATIONS:
        size = min(block, SIMULATIONS - done, max(1, AT_ONCE // p.size))
        simulated = _statistic(rng.multinomial(n, p, size=(size, len(n))), expected)
        # With a tolerance, so that statistics that differ only by the order of their sum are equal.
        extreme = np.cumsum(simulated >= g * (1 - 1e-9) - 1e-9)
        if as_extreme + extreme[-1] >= EXCEEDANCES:
            last = int(np.searchsorted(extreme, EXCEEDANCES - as_extreme))
            return EXCEEDANCES / (done + last + 1)
        as_extreme += int(extreme[-1])
        done += size
        block *= 4
    return (as_extreme + 1) / (done + 1)


def _statistic(counts: NDArray[np.int64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 2 sum c ln(c / expected) over the last two axes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(counts > 0, counts * np.log(counts / expected), 0.0)
    return np.asarray(2 * parts.sum(axis=(-2, -1)))


def _worst(
    cells: Sequence[CountedDraws],
    counts: NDArray[np.int64],
    p: NDArray[np.float64],
    words: Sequence[str],
) -> str:
    """Return the token that is furthest from its expected count, in words."""
    expected = counts.sum(axis=1, keepdims=True) * p
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(counts - expected) / np.sqrt(expected * (1 - p))
    z = np.where(expected > 0, np.nan_to_num(z), np.where(counts > 0, 1e6 + counts, 0.0))
    row, token = divmod(int(np.argmax(z)), z.shape[1])
    count, mean = int(counts[row, token]), expected[row, token]
    return f"{words[token]!r} {count:,} times, expected {mean:,.1f} ({cells[row].label})"
