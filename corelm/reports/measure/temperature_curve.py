"""The temperature curve: the entropy of the model's distributions at each temperature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Sampler
from corelm.toolkit import moments, temperature_of

GRID = (*(round(0.1 * i, 1) for i in range(1, 21)), 2.5, 3.0, 4.0, 6.0, 10.0)
"""The temperatures of a curve: dense where people use them, sparse towards uniform."""

COLDEST = 0.01
"""The lowest temperature of a curve; below it no plot can tell it from greedy."""


def temperatures(samplers: Iterable[Sampler]) -> list[float]:
    """Return the temperatures of a curve: the grid, and those of the samplers that are one.

    Example:
        >>> import corelm
        >>> 0.33 in temperatures([corelm.sampler("temperature(t=0.33)")])
        True
    """
    own = [t for sampler in samplers if (t := temperature_of(sampler)) is not None]
    return sorted({*GRID, *(t for t in own if COLDEST <= t <= GRID[-1])})


def at_temperatures(logits: Array, temperatures: Sequence[float]) -> NDArray[np.float64]:
    """Return the entropy of distributions at each temperature, and its derivative.

    The derivative is the variance of the logits under the distribution at that temperature,
    over the temperature cubed. It is never below 0, so the entropy never falls.

    Args:
        logits: (rows, vocabulary), the model's.
        temperatures: above 0.

    Returns:
        (rows, 2, temperatures): nats, and nats per unit of temperature.

    Example:
        >>> even = np.log([[0.25] * 4])
        >>> at_temperatures(even, [0.5, 2.0]).round(4).tolist()
        [[[1.3863, 1.3863], [0.0, 0.0]]]
    """
    t = np.array(temperatures, dtype=np.float64)
    rest, first, second = np.moveaxis(moments(logits, t), -1, 0)
    mean, square = first / (1 + rest), second / (1 + rest)
    # A variance: rounding may take a tiny one below 0.
    slope = np.maximum(square - mean**2, 0.0) / t**3
    return np.stack([np.log1p(rest) - mean / t, slope], axis=1)


def curve(record: dict[str, Any], temperatures: Sequence[float]) -> dict[str, list[float]]:
    """Return the mean entropy over all positions at each temperature, and its slope.

    Args:
        record: the part `curve` of `on_contexts.measure`, merged.
        temperatures: those of the measurement.

    Returns:
        `t`, `entropy` in nats and `slope` in nats per unit of temperature.
    """
    positions = sum(record["positions"])
    means = {
        key: np.sum(record[key], axis=0).reshape(-1) / max(positions, 1)
        for key in ("entropy", "slope")
    }
    return {"t": list(temperatures), **{key: mean.tolist() for key, mean in means.items()}}
