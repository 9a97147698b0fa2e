"""Entropy against temperature, and its slope, on the model's distributions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.numerics.distributions import Array
from corelm.report.measure.divergence import Distribution
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


def at_temperatures(logits: Array, temperatures: Sequence[float]) -> NDArray[np.float64]:
    """The entropy of distributions at each temperature, and its derivative by the temperature.

    The derivative is the variance of the logits under the distribution at that temperature,
    over the temperature cubed. It is never below 0, so the entropy never falls.

    Args:
        logits: (rows, vocabulary) the model's.
        temperatures: above 0.

    Returns:
        (rows, 2, temperatures): nats, and nats for each unit of temperature.

    Example:
        >>> even = np.log([[0.25] * 4])
        >>> at_temperatures(even, [0.5, 2.0]).round(4).tolist()
        [[[1.3863, 1.3863], [0.0, 0.0]]]
    """
    t = np.array(temperatures, dtype=np.float64)
    rest, first, second = np.moveaxis(_moments(logits, t), -1, 0)
    mean, square = first / (1 + rest), second / (1 + rest)
    slope = np.maximum(square - mean**2, 0.0) / t**3
    return np.stack([np.log1p(rest) - mean / t, slope], axis=1)


def _moments(logits: Array, temperatures: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of the weights, of the logits times their weights, and of their squares times these.

    The weights are in units of the largest, as the logits are below the largest. The likeliest
    token is left out: its weight is 1 at any temperature, and it adds nothing to the others.

    Returns:
        (rows, temperatures, 3).
    """
    found = np.empty((len(logits), len(temperatures), 3))
    rows = native.as_rows(logits)
    if rows is not None:
        native.kernels.moments(rows, temperatures, found)
        return found
    for row, sums in zip(logits, found, strict=True):  # each stays in the processor's cache
        p = Distribution(row)
        for i, t in enumerate(temperatures):
            weights = p.below * p.below.dtype.type(1 / t)
            np.exp(weights, out=weights)
            weights[p.top] = 0
            for power in range(3):
                sums[i, power] = weights.sum(dtype=np.float64)
                weights *= p.below
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
