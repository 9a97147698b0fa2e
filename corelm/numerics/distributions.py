"""The arithmetic of next-token distributions: pure functions on NumPy arrays.

Logits are (batch, vocabulary) in float32 or float64; minus infinity means never. Entropies and
surprisals are in nats. Nothing here draws a random number: `draw` is given its luck.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import native
from corelm.errors import ParameterError

Array = NDArray[Any]

BLOCK = 128
"""Tokens per block of the two-level inverse CDF: about the square root of a usual vocabulary."""

FEW = 0.25
"""The share of a vocabulary below which it pays to pick out the tokens that can be drawn."""

NEVER = -1e4
"""A logit so far below the largest that its probability is 0 in every type."""


def rows_are_valid(logits: Array) -> bool:
    """Whether each row of logits is one: its largest is neither infinite nor nan.

    Example:
        >>> rows_are_valid(np.array([1.0, -np.inf])), rows_are_valid(np.array([-np.inf]))
        (True, False)
    """
    rows = native.as_rows(logits)
    if rows is not None:
        return bool(native.kernels.judge(rows))
    return bool(np.isfinite(logits.max(axis=-1)).all())


def mask_tokens(logits: Array, tokens: NDArray[np.int64]) -> bool:
    """Set the logits of some tokens to minus infinity, in place.

    Args:
        logits: (batch, vocabulary), writeable.
        tokens: ids, each once.

    Returns:
        True if every row is a distribution before and after. Rows that are none before are left
        as they are.

    Example:
        >>> logits = np.array([[1.0, 3.0]])
        >>> mask_tokens(logits, np.array([1])), logits.tolist()
        (True, [[1.0, -inf]])
    """
    rows = native.as_rows(logits)
    if rows is not None:
        valid: bool = native.kernels.admit(rows, tokens, rows)
        return valid
    if not rows_are_valid(logits):
        return False
    logits[:, tokens] = -np.inf
    return rows_are_valid(logits)


def subtract_max(logits: Array) -> Array:
    """The logits less the largest of their row, so that no exponential of them overflows.

    Example:
        >>> subtract_max(np.array([1.0, 3.0])).tolist()
        [-2.0, 0.0]
    """
    with np.errstate(over="ignore"):
        below: Array = logits - logits.max(axis=-1, keepdims=True)
    return below


def log_softmax(logits: Array) -> Array:
    """The log-probabilities of logits: (..., vocabulary), same shape and dtype.

    Example:
        >>> log_softmax(np.array([0.0, 0.0])).round(4).tolist()
        [-0.6931, -0.6931]
    """
    shifted = subtract_max(logits)
    total = np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float64)
    return np.asarray(shifted - np.log(total).astype(logits.dtype))


def softmax(logits: Array) -> Array:
    """The probabilities of logits: (..., vocabulary), same shape and dtype; rows sum to 1.

    Example:
        >>> softmax(np.array([0.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    weights = np.exp(subtract_max(logits))
    total = weights.sum(axis=-1, keepdims=True, dtype=np.float64)
    return np.asarray(weights / total, dtype=logits.dtype)


def entropy(probabilities: ArrayLike) -> Array:
    """Shannon's entropy of each row, in nats: (..., vocabulary) to (...,).

    A probability of zero adds nothing, as its limit does. Between 0 (one token is certain)
    and ln of the vocabulary (all are equally likely).

    Source: Shannon 1948, A mathematical theory of communication.

    Example:
        >>> entropy([[1.0, 0.0], [0.5, 0.5]]).round(4).tolist()
        [0.0, 0.6931]
    """
    p = np.asarray(probabilities)
    if p.dtype.kind != "f":
        p = p.astype(np.float64)
    surprisal = np.log(np.where(p > 0, p, 1))
    # Adding 0.0 turns the minus zero of a certain row into zero.
    total: Array = -np.einsum("...v,...v->...", p, surprisal, dtype=np.float64) + 0.0
    return total


def entropy_of_logits(logits: Array) -> Array:
    """The entropy of softmax(logits) in nats: (..., vocabulary) to (...,) in float64.

    More exact than going through probabilities: ln of the sum, less the mean logit.
    """
    return min_and_shannon_entropy(logits)[1]


def min_entropy(logits: Array) -> Array:
    """The surprisal of each row's likeliest token, -ln max p, in nats, in float64.

    Source: Renyi 1961, On measures of entropy and information.

    Example:
        >>> float(min_entropy(np.log([0.5, 0.25, 0.25])).round(4))
        0.6931
    """
    rows = native.as_rows(logits)
    if rows is not None:
        least = np.empty(len(rows))
        native.kernels.entropies(rows, least, None)
        return least.reshape(logits.shape[:-1])
    below = subtract_max(logits)
    return np.log1p(_unlikely(np.exp(below, out=below), logits))


def min_and_shannon_entropy(logits: Array) -> tuple[Array, Array]:
    """The min-entropy and the entropy of each row of logits, in nats, in float64.

    Both are exact for a row that is all but certain: nothing is lost next to the one large weight.

    Example:
        >>> least, usual = min_and_shannon_entropy(np.log([0.5, 0.25, 0.25]))
        >>> float(least.round(4)), float(usual.round(4))
        (0.6931, 1.0397)
    """
    rows = native.as_rows(logits)
    if rows is not None:
        least, usual = np.empty(len(rows)), np.empty(len(rows))
        native.kernels.entropies(rows, least, usual)
        return least.reshape(logits.shape[:-1]), usual.reshape(logits.shape[:-1])
    below = subtract_max(logits)
    np.maximum(below, NEVER, out=below)  # 0 * -inf would be nan
    weights = np.exp(below)
    rest = _unlikely(weights, logits)
    moment = np.multiply(weights, below, out=below).sum(axis=-1).astype(np.float64)
    nats = np.log1p(rest)
    return nats, nats - moment / (1 + rest)


def _unlikely(weights: Array, logits: Array) -> Array:
    """The sum of the weights without that of the likeliest token, 1, which becomes 0."""
    flat = weights.reshape(-1, logits.shape[-1])
    flat[np.arange(len(flat)), logits.argmax(axis=-1).ravel()] = 0
    # NumPy sums in pairs, so that in float32 little more is lost than in the exponentials.
    return np.asarray(weights.sum(axis=-1), dtype=np.float64)


def surprisals(logits: Array, tokens: Array) -> NDArray[np.float64]:
    """The surprisal of one token of each row, -ln p, in nats, in float64.

    Args:
        logits: (batch, vocabulary).
        tokens: (batch,) ids.

    Example:
        >>> surprisals(np.log([[0.25, 0.75]]), np.array([0])).round(4).tolist()
        [1.3863]
    """
    nats = np.empty(len(logits))
    rows = native.as_rows(logits)
    if rows is not None:
        native.kernels.surprisals(rows, np.ascontiguousarray(tokens, dtype=np.int64), nats)
        return nats
    for i, row in enumerate(logits):  # one at a time: it stays in the processor's cache
        below = subtract_max(row)
        nats[i] = np.log(np.exp(below).sum(dtype=np.float64)) - below[tokens[i]]
    return np.maximum(nats, 0.0)


def keep(logits: Array, mask: Array) -> Array:
    """The logits where the mask is true, minus infinity elsewhere.

    Example:
        >>> keep(np.array([1.0, 2.0]), np.array([False, True])).tolist()
        [-inf, 2.0]
    """
    return np.where(mask, logits, logits.dtype.type(-np.inf))


def greedy(logits: Array) -> Array:
    """All probability on the largest logit of each row, the lowest id on ties.

    Example:
        >>> greedy(np.array([[1.0, 3.0, 3.0]])).tolist()
        [[-inf, 0.0, -inf]]
    """
    only = native.new_rows("greedy", logits)
    if only is not None:
        return only
    only = np.full_like(logits, -np.inf)
    np.put_along_axis(only, logits.argmax(axis=-1, keepdims=True), 0, axis=-1)
    return only


def apply_temperature(logits: Array, t: float) -> Array:
    """Divide the logits by a temperature, exactly at its ends and safely near them.

    t = 0 is greedy, t = 1 changes nothing, t = infinity is uniform over the tokens in play. A row
    is shifted, so that its largest logit becomes 0, only where the quotient would overflow: a
    repetition penalty later in the chain depends on the signs. A quotient below the range of the
    type becomes minus infinity.

    Example:
        >>> apply_temperature(np.array([1.0, 3.0]), 0.5).tolist()
        [2.0, 6.0]
    """
    if t == 0:
        return greedy(logits)
    if t == 1:
        return logits
    if t == np.inf:
        return keep(np.zeros_like(logits), logits > -np.inf)
    usual = 1e-30 < t < 1e30
    out = native.new_rows("sharpen", logits, t) if usual else None
    if out is not None:
        return out
    with np.errstate(over="ignore"):
        wide = logits if usual else logits.astype(np.float64)
        largest = wide.max(axis=-1, keepdims=True)
        overflows = ~np.isfinite((largest / t).astype(logits.dtype))
        shift = np.where(overflows, largest, wide.dtype.type(0))
        return np.asarray(((wide - shift) / t).astype(logits.dtype))


def draw(logits: Array, luck: Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw one token of each row by inverse CDF, with the given uniform numbers.

    The sums are in float64 and have two levels, first over blocks of tokens and then inside
    one block, so that a draw costs little more than the exponentials. A token of probability
    zero adds nothing to any sum and cannot be reached.

    Args:
        logits: (batch, vocabulary), each row with a finite entry.
        luck: (batch,) numbers in [0, 1).

    Returns:
        The token ids (batch,) and their surprisals in nats (batch,) under softmax(logits).

    Example:
        >>> draw(np.log(np.array([[0.25, 0.75]])), np.array([0.5]))[0].tolist()
        [1]
    """
    return draw_checked(logits, luck)[:2]


def draw_checked(logits: Array, luck: Array) -> tuple[NDArray[np.int64], NDArray[np.float64], bool]:
    """What `draw` says, and whether each row is a distribution; if not, nothing of it counts."""
    tokens, surprisal = np.empty(len(logits), dtype=np.int64), np.empty(len(logits))
    rows = native.as_rows(logits)
    if rows is not None:
        luck = np.ascontiguousarray(luck, dtype=np.float64)
        return tokens, surprisal, native.kernels.draw(rows, luck, tokens, surprisal)
    if not rows_are_valid(logits):
        return tokens, surprisal, False
    for i, row in enumerate(logits):  # one at a time: it stays in the processor's cache
        possible = row > -np.inf
        if np.count_nonzero(possible) < FEW * row.size:  # as after a filter
            kept = np.flatnonzero(possible)
            token, surprisal[i] = _drawn(row[kept], luck[i])
            tokens[i] = kept[token]
        else:
            tokens[i], surprisal[i] = _drawn(row, luck[i])
    return tokens, surprisal, True


def _drawn(row: Array, luck: float) -> tuple[int, float]:
    """The place of what is drawn of a row, and its surprisal."""
    below = subtract_max(row)
    weights = np.exp(below)
    starts = np.arange(0, row.size, BLOCK)
    reached = np.add.reduceat(weights, starts, dtype=np.float64).cumsum()
    at = _invert(weights, reached, luck * reached[-1])
    return at, max(np.log(reached[-1]) - below[at], 0.0)


def _invert(weights: Array, reached: Array, target: float) -> int:
    """The token whose slice of the partial sums holds the target."""
    block = int(reached.searchsorted(target, side="right"))
    if block < len(reached):
        start = block * BLOCK
        inside = weights[start : start + BLOCK].cumsum(dtype=np.float64)
        before = reached[block - 1] if block else 0.0
        offset = int((before + inside).searchsorted(target, side="right"))
        if offset < len(inside):
            return start + offset
        # The block's two sums differ in their last bit: the target lies at its very end.
        return start + int(np.flatnonzero(weights[start : start + BLOCK])[-1])
    return int(np.flatnonzero(weights)[-1])


def reweight_distribution(original_distribution: ArrayLike, temperature: float = 0.5) -> Array:
    """Reweight probabilities by a softmax temperature: the book's function, safe at its edges.

    Args:
        original_distribution: (..., vocabulary) probabilities; each row is normalised first.
        temperature: at least 0; 0 puts all on the likeliest token, 1 changes nothing.

    Returns:
        The new probabilities, same shape.

    Raises:
        ParameterError: a negative or nan temperature, or rows that are no distribution.

    Example:
        >>> reweight_distribution([0.2, 0.8], temperature=0.5).round(4).tolist()
        [0.0588, 0.9412]
    """
    p = np.asarray(original_distribution)
    p = p if p.dtype.kind == "f" else p.astype(np.float64)
    if not temperature >= 0:
        raise ParameterError(f"temperature must be at least 0, not {temperature!r}")
    if p.ndim == 0 or p.shape[-1] == 0 or not (p >= 0).all() or not np.isfinite(p).all():
        raise ParameterError("a distribution holds finite numbers that are at least 0")
    if not (p.sum(axis=-1) > 0).all():
        raise ParameterError("a distribution needs at least one number above 0 in each row")
    with np.errstate(divide="ignore"):
        return softmax(apply_temperature(np.log(p), float(temperature)))
