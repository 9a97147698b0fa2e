"""Figures that are ratios of two sums over texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

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
