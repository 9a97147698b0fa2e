"""Whole filters: each a kernel where there is one, and its definition in NumPy.

The definitions find the tokens that stay with what `corelm/selection.py` offers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import native
from corelm.numerics.distributions import Array, min_and_shannon_entropy, min_entropy
from corelm.numerics.selection import (
    Tokens,
    at_least,
    falling_logits,
    filter_each_row,
    filter_logits,
    first_tokens,
    first_where,
    largest_tokens,
    tokens_within,
)


def top_k(logits: Array, k: int) -> Array:
    """The k largest logits of each row, the lowest id first on ties, minus infinity elsewhere.

    Args:
        logits: (batch, vocabulary).
        k: at least 1 and at most the vocabulary.

    Example:
        >>> top_k(np.array([[1.0, 3.0, 2.0, 2.0]]), 2).tolist()
        [[-inf, 3.0, 2.0, -inf]]
    """
    out = native.new_rows("largest", logits, k)
    if out is not None:
        return out
    return filter_logits(logits, lambda some: largest_tokens(some, k))


def top_p(logits: Array, p: float) -> Array:
    """The fewest likeliest tokens whose probabilities sum to at least p, minus infinity elsewhere.

    Args:
        logits: (batch, vocabulary).
        p: at least 0 and less than 1; the likeliest token stays in any case.

    Example:
        >>> top_p(np.log(np.array([[0.25, 0.5, 0.25]])), 0.6).round(4).tolist()
        [[-1.3863, -0.6931, -inf]]
    """
    out = native.new_rows("nucleus", logits, p)
    if out is not None:
        return out
    return filter_each_row(logits, lambda row: _nucleus_of(row, p))


@np.errstate(over="ignore")
def _nucleus_of(row: Array, p: float) -> Tokens:
    target = p * np.exp(min_entropy(row))  # in units of the largest probability
    for values in falling_logits(row):
        weights = np.exp(values - values[0])
        last = first_where(weights, lambda mass: at_least(mass, target))
        if last < len(values):
            return first_tokens(row, values[last], last + 1)
    return first_tokens(row, values[-1], len(values))


def within_nats(
    logits: Array, nats: Callable[[Array], ArrayLike], *, costly: bool = False
) -> Array:
    """The tokens at most so many nats less likely than the likeliest, minus infinity elsewhere.

    Args:
        logits: (batch, vocabulary).
        nats: from some of the rows to one number, or to one for each of them; where it is below
            0, the likeliest token stands alone.
        costly: whether that takes exponentials, so that fewer rows are worth another core.

    Example:
        >>> within_nats(np.log([[0.5, 0.1, 0.4]]), lambda rows: np.log(2)).round(4).tolist()
        [[-0.6931, -inf, -0.9163]]
    """
    rows = native.as_rows(logits)
    if rows is None:
        return filter_logits(logits, lambda some: tokens_within(some, nats(some)), costly=costly)
    out, far = np.empty_like(rows), np.empty(len(rows))
    far[:] = nats(rows)
    native.kernels.keep(rows, far, out)
    return out


def typical(logits: Array, p: float) -> Array:
    """The fewest tokens of most typical surprisal that sum to at least p, minus infinity elsewhere.

    A token is the more typical, the nearer its surprisal is to the entropy; of tokens that are
    as near the first ones stay.

    Args:
        logits: (batch, vocabulary).
        p: above 0 and less than 1.

    Example:
        >>> typical(np.log(np.array([[0.5, 0.25, 0.125, 0.125]])), 0.2).round(4).tolist()
        [[-inf, -1.3863, -inf, -inf]]
    """
    out = native.new_rows("typical", logits, p)
    if out is not None:
        return out
    return filter_each_row(logits, lambda row: _typical_of(row, p))


@np.errstate(over="ignore")
def _typical_of(row: Array, p: float) -> Tokens:
    peak, nats = min_and_shannon_entropy(row)
    top, target = row.max(), p * np.exp(peak)

    def excess(values: ArrayLike) -> Array:
        """The surprisal of a logit, less the entropy."""
        return np.asarray(peak - nats - np.subtract(values, top, dtype=np.float64))

    for values in falling_logits(row):
        far = np.abs(excess(values))
        order = far.argsort(kind="stable")
        weights = np.exp(values - top)[order]
        last = first_where(weights, lambda mass: at_least(mass, target))
        cut = far[order[min(last, len(order) - 1)]]
        if last < len(order) and not at_least(1 + cut, 1 + excess(values[-1])):
            break  # all that is left is farther
    near = values[at_least(1 + cut, 1 + far)]  # 1, so that the slack is absolute near 0
    tokens = np.flatnonzero((row >= near[-1]) & (row <= near[0]))
    kept: Array = ~at_least(1 + np.abs(excess(row[tokens])), 1 + cut)
    tied = np.flatnonzero(~kept)
    weights = np.exp(row[tokens] - top)
    nearer = weights[kept].sum(dtype=np.float64)
    last = first_where(weights[tied], lambda mass: at_least(nearer + mass, target))
    kept[tied[: last + 1]] = True
    chosen: Tokens = tokens[kept]
    return chosen


def logit_std(logits: Array) -> NDArray[np.float64]:
    """The standard deviation of each row's logits that are not minus infinity.

    Args:
        logits: (batch, vocabulary).

    Example:
        >>> logit_std(np.array([[4.0, 3.0, 2.0, 1.0, -np.inf]])).round(4).tolist()
        [1.118]
    """
    rows, found = native.as_rows(logits), np.empty(len(logits))
    if rows is None:
        return np.array([_deviation(row) for row in logits])
    native.kernels.deviations(rows, found)
    return found


def _deviation(row: Array) -> float:
    logits = row[row > -np.inf] if row.min() == -np.inf else row
    scale = max(1.0, float(np.abs(logits).max()))  # so that no square overflows
    return float((logits / np.float64(scale)).std()) * scale
