"""The filters, as their formulas read: which tokens of a row stay in play.

Each filter is defined once, with a sort of the row, for arrays of any library; compiled kernels
that need no sort serve float32 on the processor (`corelm/native/backend.py`). The falling order of
a row has the likeliest token first, and the lowest id first on ties.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.errors import ParameterError
from corelm.native import rows
from corelm.native.backend import kernel
from corelm.numerics.arrays import (
    array_namespace,
    is_number,
    is_one_number,
    running_count,
    wide_float,
    widen,
)
from corelm.numerics.distributions import (
    Array,
    is_likeliest,
    mask_logits,
    min_and_shannon_entropy,
    subtract_max,
)

SLACK = 1e-12
"""The relative tolerance at which a sum of decimals still meets a decimal."""


STRAIGHT = 1e-9
"""Probabilities that bend by less than this share of the largest one are on a line."""


# ---- checks of arguments, the same for kernels and definitions ----


def _check_share(logits: Array, p: float) -> None:
    if not (is_one_number(p) and 0 <= p <= 1):
        raise ParameterError(f"p must be at least 0 and at most 1, not {p!r}")


def _check_positive_share(logits: Array, p: float) -> None:
    if not (is_one_number(p) and 0 < p <= 1):
        raise ParameterError(f"p must be above 0 and at most 1, not {p!r}")


def _check_entropy_share(logits: Array, h: float) -> None:
    if not (is_one_number(h) and 0 <= h <= 1):
        raise ParameterError(f"h must be at least 0 and at most 1, not {h!r}")


def _check_curvature(logits: Array, z: float) -> None:
    if not (is_one_number(z) and 0 <= z <= 1):
        raise ParameterError(f"z must be at least 0 and at most 1, not {z!r}")


def _check_count(logits: Array, k: int) -> None:
    size = logits.shape[-1]
    if not hasattr(k, "__index__"):
        raise ParameterError(f"k must be a whole number, not {k!r}")
    if not 1 <= k <= size:
        raise ParameterError(f"k must be at least 1 and at most {size}, the vocabulary, not {k!r}")


def _check_nats(logits: Array, nats: Any) -> None:
    numbers = np.asarray(nats) if isinstance(nats, (list, tuple)) else nats
    if not is_number(numbers):
        raise ParameterError(f"nats must be a number, or one for each row, not {nats!r}")
    if isinstance(nats, float) and nats != nats:
        raise ParameterError("nats must be a number, not nan")
    if getattr(numbers, "shape", ()) not in ((), (1,), logits.shape[:1]):
        raise ParameterError(
            f"nats must be a number, or one for each of {logits.shape[0]} rows, not an array of "
            f"the shape {tuple(numbers.shape)}"
        )


# ---- what filters share ----


def at_least(value: Any, bar: Any) -> Any:
    """Compare by >=, with a tolerance of 1e-12 of the bar: a tie in decimals stays a tie.

    Args:
        value: a number or an array, at least 0.
        bar: a number or an array, at least 0.

    Example:
        >>> 0.1 + 0.7 >= 0.8, bool(at_least(0.1 + 0.7, 0.8))
        (False, True)
    """
    value, bar = (np.asarray(x) if isinstance(x, (list, tuple)) else x for x in (value, bar))
    return value >= bar * (1 - SLACK)


def falling_logits(logits: Array) -> Array:
    """Sort each row in falling order: (..., vocabulary), minus infinity last.

    Example:
        >>> falling_logits(np.array([1.0, 3.0, -np.inf, 2.0])).tolist()
        [3.0, 2.0, 1.0, -inf]
    """
    return -array_namespace(logits).sort(-logits, axis=-1)


def first_tokens(logits: Array, last: Array, count: int | Array) -> Array:
    """Keep the first tokens of each row in falling order, minus infinity elsewhere.

    Args:
        logits: (batch, vocabulary).
        last: (batch, 1), the logit of the last token that stays.
        count: the number of tokens that stay, or (batch, 1) numbers.

    Example:
        >>> first_tokens(np.array([[1.0, 3.0, 2.0, 2.0]]), np.array([[2.0]]), 2).tolist()
        [[-inf, 3.0, 2.0, -inf]]
    """
    # Thresholds instead of positions: a mask has a static shape, which JAX under jit and XLA need,
    # and only ties at the cut have to be counted.
    above, tied = logits > last, logits == last
    room = count - running_count(above)[..., -1:]
    return mask_logits(logits, above | (tied & (running_count(tied) <= room)))


# ---- the filters ----


@kernel(rows.top_k, check=_check_count)
def top_k(logits: Array, k: int) -> Array:
    """Keep the k largest logits of each row, the lowest id first on ties.

    Args:
        logits: (batch, vocabulary).
        k: at least 1 and at most the vocabulary.

    Returns:
        The logits of the tokens that stay, minus infinity elsewhere.

    Raises:
        ParameterError: k outside its range.

    Source: Fan, Lewis, Dauphin 2018, Hierarchical neural story generation, arXiv 1805.04833.

    Example:
        >>> top_k(np.array([[1.0, 3.0, 2.0, 2.0]]), 2).tolist()
        [[-inf, 3.0, 2.0, -inf]]
    """
    return first_tokens(logits, falling_logits(logits)[..., k - 1 : k], k)


@kernel(rows.top_p, check=_check_share)
def top_p(logits: Array, p: float) -> Array:
    """Keep the fewest likeliest tokens whose probabilities sum to at least p.

    Args:
        logits: (batch, vocabulary).
        p: at least 0 and at most 1; the likeliest token stays in any case.

    Returns:
        The logits of the tokens that stay, minus infinity elsewhere.

    Raises:
        ParameterError: p outside its range, or nan.

    Source: Holtzman et al. 2019, The curious case of neural text degeneration, arXiv 1904.09751.

    Example:
        >>> top_p(np.log(np.array([[0.25, 0.5, 0.25]])), 0.6).round(4).tolist()
        [[-1.3863, -0.6931, -inf]]
    """
    xp = array_namespace(logits)
    falling = falling_logits(logits)
    weights = xp.exp(subtract_max(falling))
    mass = xp.cumulative_sum(weights, axis=-1, dtype=wide_float(xp))
    short = ~at_least(mass, p * mass[..., -1:])
    count = 1 + running_count(short)[..., -1:]
    return first_tokens(logits, xp.take_along_axis(falling, count - 1, axis=-1), count)


@kernel(rows.within_nats, check=_check_nats)
@np.errstate(over="ignore")
def within_nats(logits: Array, nats: Any) -> Array:
    """Keep the tokens whose log-probability is at most `nats` below the largest one.

    It needs no softmax: the difference of two logits is the log of the ratio of probabilities.

    Args:
        logits: (batch, vocabulary).
        nats: one number, or (batch,) of them; where it is below 0, the most likely token
            stays alone.

    Returns:
        The logits of the tokens that stay, minus infinity elsewhere.

    Raises:
        ParameterError: nats is nan, or doesn't have a number for each row.

    Example:
        >>> within_nats(np.log([[0.5, 0.1, 0.4]]), np.log(2)).round(4).tolist()
        [[-0.6931, -inf, -0.9163]]
    """
    xp = array_namespace(logits)
    wide = xp.astype(logits, wide_float(xp))
    if isinstance(nats, (list, tuple)):
        nats = xp.asarray(nats)
    if getattr(nats, "ndim", 0):
        nats = xp.astype(nats, wide.dtype)[:, None]
    # In nats the tolerance is absolute: a relative one of a probability is the same factor there.
    near = wide >= xp.max(wide, axis=-1, keepdims=True) - nats - SLACK
    return mask_logits(logits, is_likeliest(logits) | (near & (nats >= -SLACK)))


@kernel(rows.typical, check=_check_positive_share)
@np.errstate(over="ignore")
def typical(logits: Array, p: float) -> Array:
    """Keep the fewest tokens of most typical surprisal whose probabilities sum to at least p.

    The nearer a token's surprisal is to the entropy, the more typical the token; tokens that are
    equally near are kept in the order of their ids.

    Args:
        logits: (batch, vocabulary).
        p: above 0 and at most 1.

    Returns:
        The logits of the tokens that stay, minus infinity elsewhere.

    Raises:
        ParameterError: p outside its range, or nan.

    Source: Meister, Pimentel, Wiher, Cotterell 2022, Locally typical sampling, arXiv 2202.00666.

    Example:
        >>> typical(np.log(np.array([[0.5, 0.25, 0.125, 0.125]])), 0.2).round(4).tolist()
        [[-inf, -1.3863, -inf, -inf]]
    """
    xp = array_namespace(logits)
    least, usual = min_and_shannon_entropy(logits)
    below = subtract_max(xp.astype(logits, least.dtype))
    far = xp.abs((least - usual)[..., None] - below)  # the surprisal less the entropy
    weights = xp.astype(xp.exp(subtract_max(logits)), least.dtype)
    order = xp.argsort(far, axis=-1, stable=True)
    mass = xp.cumulative_sum(xp.take_along_axis(weights, order, axis=-1), axis=-1)
    target = p * mass[..., -1:]
    # The cut is a distance, not a position: equal probabilities have equal distances and tie
    # exactly, although the sums before them are rounded.
    reached = xp.where(at_least(mass, target), xp.take_along_axis(far, order, axis=-1), np.inf)
    cut = xp.min(reached, axis=-1, keepdims=True)
    nearer = ~at_least(1 + far, 1 + cut)  # the 1 makes the tolerance absolute near 0
    tied = at_least(1 + cut, 1 + far) & ~nearer
    # Of the tokens at the cut, keep the first ones until their mass reaches the target.
    tied_weights = xp.where(tied, weights, 0.0)
    before = xp.cumulative_sum(tied_weights, axis=-1) - tied_weights
    before = before + xp.sum(xp.where(nearer, weights, 0.0), axis=-1, keepdims=True)
    return mask_logits(logits, nearer | (tied & ~at_least(before, target)))


@kernel(rows.top_h, check=_check_entropy_share)
def top_h(logits: Array, h: float) -> Array:
    """Keep as many top tokens as possible while their entropy stays at most h times the full one.

    Args:
        logits: (batch, vocabulary).
        h: at least 0 and at most 1; the likeliest token stays in any case.

    Returns:
        The logits of the tokens that stay, minus infinity elsewhere.

    Raises:
        ParameterError: h outside its range, or nan.

    Source: Potraghloo, Azizi, Kundu, Pedram 2025, Top-H decoding: adapting the creativity and
    coherence with bounded entropy in text generation, arXiv 2509.02510.

    Example:
        >>> top_h(np.zeros((1, 4)), 0.5).tolist()
        [[0.0, 0.0, -inf, -inf]]
    """
    if h == 1:  # exactly, in spite of rounding
        return logits
    xp = array_namespace(logits)
    wide = wide_float(xp)
    falling = falling_logits(logits)
    below = subtract_max(falling)
    weights = xp.exp(below)
    # The first weight is 1; left out of the sums, it does not hide the small ones.
    others = xp.where(running_count(falling == falling) > 1, weights, 0.0)
    rest = xp.cumulative_sum(others, axis=-1, dtype=wide)
    moment = others * xp.where(others > 0, below, 0.0)
    nats = xp.log1p(rest) - xp.cumulative_sum(moment, axis=-1, dtype=wide) / (1 + rest)
    limit = h * min_and_shannon_entropy(logits)[1][..., None]
    count = running_count(at_least(limit, nats) & (weights > 0))[..., -1:]
    return first_tokens(logits, xp.take_along_axis(falling, count - 1, axis=-1), count)


@kernel(rows.tail_free, check=_check_curvature)
def tail_free(logits: Array, z: float) -> Array:
    """Keep the tokens before the tail, found by the curvature of the sorted probabilities.

    The first token stays, and one more for each leading second difference of the probabilities
    while the sum of these is at most z of the whole. Where nothing bends, all tokens stay.

    Args:
        logits: (batch, vocabulary).
        z: at least 0 and at most 1.

    Returns:
        The logits of the tokens that stay, minus infinity elsewhere.

    Raises:
        ParameterError: z outside its range, or nan.

    Source: Bricken 2019, Tail free sampling, https://www.trentonbricken.com/Tail-Free-Sampling/.

    Example:
        >>> tail_free(np.log(np.array([[0.5, 0.2, 0.16, 0.14]])), 0.95).round(4).tolist()
        [[-0.6931, -1.6094, -inf, -inf]]
    """
    size = logits.shape[-1]
    if z == 1 or size < 3:  # two tokens have no second difference
        return logits
    xp = array_namespace(logits)
    falling = falling_logits(logits)
    weights = xp.exp(subtract_max(widen(falling)))
    slopes = weights[..., 1:] - weights[..., :-1]
    share = xp.cumulative_sum(xp.abs(slopes[..., 1:] - slopes[..., :-1]), axis=-1)
    total = share[..., -1:]
    before = xp.astype(at_least(z * total, share), xp.int32)
    # Without a bend, rounding alone would decide where the tail begins.
    count = xp.where(total > STRAIGHT, 1 + xp.sum(before, axis=-1, keepdims=True), size)
    return first_tokens(logits, xp.take_along_axis(falling, count - 1, axis=-1), count)


@kernel(rows.logit_std)
def logit_std(logits: Array) -> NDArray[np.float64]:
    """Return the standard deviation of each row's logits that are not minus infinity.

    It is the population's: the root of the mean of the squares, without the factor n / (n - 1).

    Args:
        logits: (batch, vocabulary).

    Returns:
        (batch,) in float64.

    Example:
        >>> logit_std(np.array([[4.0, 3.0, 2.0, 1.0, -np.inf]])).round(4).tolist()
        [1.118]
    """
    xp = array_namespace(logits)
    in_play = logits > -np.inf
    finite = xp.astype(xp.where(in_play, logits, 0.0), wide_float(xp))
    count = xp.astype(running_count(in_play)[..., -1:], finite.dtype)
    scale = xp.maximum(xp.max(xp.abs(finite), axis=-1, keepdims=True), 1.0)  # no square overflows
    scaled = finite / scale
    mean = xp.sum(scaled, axis=-1, keepdims=True) / count
    squares = xp.where(in_play, (scaled - mean) ** 2, 0.0)
    return (xp.sqrt(xp.sum(squares, axis=-1, keepdims=True) / count) * scale)[..., 0]
