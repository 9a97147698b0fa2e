"""Entropy against temperature, and its slope, on the model's distributions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.report.beside import Distribution
from corelm.sampler import Sampler

GRID = (*(round(0.1 * i, 1) for i in range(1, 21)), 2.5, 3.0, 4.0, 6.0, 10.0)
"""The temperatures of a curve: those that are in use close together, then those near uniform."""

COLDEST = 0.01
"""A temperature below it is greedy, for all that a curve can show."""


def temperatures(samplers: Iterable[Sampler]) -> list[float]:
    """The temperatures of a curve on which each of these samplers that is one has its mark.

    Example:
        >>> import corelm
        >>> 0.33 in temperatures([corelm.sampler("temperature(t=0.33)")])
        True
    """
    own = [getattr(sampler, "t", 0.0) for sampler in samplers if sampler.name == "temperature"]
    return sorted({*GRID, *(float(t) for t in own if COLDEST <= t <= GRID[-1])})


def at_temperatures(p: Distribution, temperatures: Sequence[float]) -> NDArray[np.float64]:
    """The entropy of a distribution at each temperature, and its derivative by the temperature.

    The derivative is the variance of the logits under the distribution at that temperature,
    over the temperature cubed. It is never below 0, so the entropy never falls.

    Args:
        p: the model's distribution.
        temperatures: above 0.

    Returns:
        (2, temperatures): nats, and nats for each unit of temperature.

    Example:
        >>> even = Distribution(np.log([0.25] * 4))
        >>> at_temperatures(even, [0.5, 2.0]).round(4).tolist()
        [[1.3863, 1.3863], [0.0, 0.0]]
    """
    found = np.empty((2, len(temperatures)))
    for i, t in enumerate(temperatures):
        weights = p.below * p.below.dtype.type(1 / t)
        np.exp(weights, out=weights)
        weights[p.top] = 0  # known to be 1, and adds nothing to the moments
        total = weights.sum(dtype=np.float64) + 1
        terms = np.multiply(weights, p.below, out=weights)
        mean = terms.sum(dtype=np.float64) / total
        variance = np.multiply(terms, p.below, out=terms).sum(dtype=np.float64) / total - mean**2
        found[:, i] = np.log(total) - mean / t, max(variance, 0.0) / t**3
    return found


def curve(record: dict[str, Any], temperatures: Sequence[float]) -> dict[str, list[float]]:
    """The mean entropy over all positions at each temperature, and its slope.

    Args:
        record: from `same_contexts.measure`, merged.
        temperatures: those that it was measured at.

    Returns:
        `t`, `entropy` in nats and `slope` in nats for each unit of temperature.
    """
    positions = sum(record["positions"])
    means = {
        key: np.sum(record[key], axis=0).reshape(-1) / max(positions, 1)
        for key in ("entropy", "slope")
    }
    return {"t": list(temperatures), **{key: mean.tolist() for key, mean in means.items()}}
