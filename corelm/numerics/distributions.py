"""The arithmetic of next-token distributions, as pure functions.

Each function is defined once, as its formula reads, for arrays of any library; compiled kernels
serve float32 on the processor (`corelm/native/backend.py`). Logits are (batch, vocabulary);
minus infinity means never. Entropies and surprisals are in nats. Nothing here makes a random
number: `draw` takes its uniform numbers as an argument.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.errors import ParameterError
from corelm.native import rows
from corelm.native.backend import kernel, named
from corelm.numerics.arrays import (
    array_namespace,
    as_floats,
    check_ids,
    check_one_id_a_row,
    check_uniforms,
    first_true,
    is_number,
    running_count,
    uniform_numbers,
    wide_float,
    widen,
)

Array = NDArray[Any]

NEVER = -1e4
"""A logit so far below the maximum that its probability is 0 in every type."""

USUAL = 1e-30, 1e30
"""Temperatures between these divide in the logits' own type."""


# ---- logits ----


@kernel(rows.rows_are_valid)
def rows_are_valid(logits: Array) -> bool:
    """Return whether each row has a largest logit that is finite: no NaN, no +infinity, not empty.

    Example:
        >>> rows_are_valid(np.array([1.0, -np.inf])), rows_are_valid(np.array([-np.inf]))
        (True, False)
    """
    xp = array_namespace(logits)
    return bool(xp.all(xp.isfinite(xp.max(logits, axis=-1))))


@kernel(rows.mask_tokens, check_entries=check_ids, in_place=True, by_row=False)
def mask_tokens(logits: Array, tokens: NDArray[np.int64]) -> bool:
    """Set the logits of some tokens to minus infinity, in place.

    Args:
        logits: (batch, vocabulary), writeable.
        tokens: ids, each once.

    Returns:
        True if every row is valid before and after. Rows that are invalid before stay as they are.

    Raises:
        UsageError: an id outside the vocabulary.

    Example:
        >>> logits = np.array([[1.0, 3.0]])
        >>> mask_tokens(logits, np.array([1])), logits.tolist()
        (True, [[1.0, -inf]])
    """
    if not rows_are_valid(logits):
        return False
    logits[:, tokens] = -np.inf
    # Validate again: the masked tokens may have been a row's only possible ones.
    return rows_are_valid(logits)


def mask_logits(logits: Array, mask: Array) -> Array:
    """Return the logits where the mask is true, minus infinity elsewhere.

    Args:
        logits: (batch, vocabulary).
        mask: of the same shape.

    Example:
        >>> mask_logits(np.array([1.0, 2.0]), np.array([False, True])).tolist()
        [-inf, 2.0]
    """
    return array_namespace(logits).where(mask, logits, -np.inf)


def is_likeliest(logits: Array) -> Array:
    """Mark the largest logit of each row, the lowest id on ties: (..., vocabulary), bool.

    Example:
        >>> is_likeliest(np.array([1.0, 3.0, 3.0])).tolist()
        [False, True, False]
    """
    xp = array_namespace(logits)
    tied = logits == xp.max(logits, axis=-1, keepdims=True)
    return first_true(tied)


@kernel(rows.greedy)
def greedy(logits: Array) -> Array:
    """Put all probability on the largest logit of each row, the lowest id on ties.

    Example:
        >>> greedy(np.array([[1.0, 3.0, 3.0]])).tolist()
        [[-inf, 0.0, -inf]]
    """
    return mask_logits(array_namespace(logits).zeros_like(logits), is_likeliest(logits))


@np.errstate(over="ignore")
def subtract_max(logits: Array) -> Array:
    """Subtract from each row its largest logit, so that no exponential of them overflows.

    Example:
        >>> subtract_max(np.array([1.0, 3.0])).tolist()
        [-2.0, 0.0]
    """
    return logits - array_namespace(logits).max(logits, axis=-1, keepdims=True)


@named("apply_temperature")
def apply_temperature(logits: Array, t: float | Array) -> Array:
    """Divide the logits by a temperature, exactly at its ends and safely near them.

    t = 0 is greedy, t = 1 changes nothing, t = infinity is uniform over the tokens in play. A row
    is shifted, so that its largest logit becomes 0, only where the quotient would overflow: a
    repetition penalty later in the chain depends on the signs. A quotient below the range of the
    type becomes minus infinity.

    Args:
        logits: (batch, vocabulary).
        t: at least 0; one number, or (batch,) finite ones.

    Raises:
        ParameterError: a temperature below 0, or nan.

    Example:
        >>> apply_temperature(np.array([1.0, 3.0]), 0.5).tolist()
        [2.0, 6.0]
    """
    if getattr(t, "ndim", 0):
        return _divide(logits, t)
    if not is_number(t) or not (t := float(t)) >= 0:
        raise ParameterError(f"t must be at least 0, not {t!r}")
    if t == 0:
        return greedy(logits)
    if t == 1:
        return logits
    return _divide(logits, t)


@kernel(rows.apply_temperature)
@np.errstate(over="ignore")
def _divide(logits: Array, t: Any) -> Array:
    """Return l / t, and (l - max l) / t in rows where l / t overflows.

    Args:
        logits: (batch, vocabulary).
        t: one number above 0, of which infinity is uniform; or (batch,) finite numbers, of which 0
            is greedy.
    """
    xp = array_namespace(logits)
    if isinstance(t, float):
        if t == np.inf:
            return mask_logits(xp.zeros_like(logits), logits > -np.inf)
        return _quotient(logits, t)
    # `where` evaluates both sides, so rows at 0 divide by 1 before the greedy row replaces them.
    t = xp.astype(t, wide_float(xp))[:, None]
    return xp.where(t > 0, _quotient(logits, xp.where(t > 0, t, 1.0)), greedy(logits))


def _quotient(logits: Array, t: Any) -> Array:
    """Return l / t, shifted where it would overflow, for temperatures above 0."""
    xp, wide = array_namespace(logits), logits
    if not isinstance(t, float):
        wide = widen(logits)
    elif not USUAL[0] < t < USUAL[1]:
        wide = widen(logits)
        if wide_float(xp) == xp.float32:  # in float32, t or 1 / t could be 0 or infinite
            t = min(max(t, 1e-37), 1e37)
    largest = xp.max(wide, axis=-1, keepdims=True)
    # In the type of the result: a quotient may fit into float64 and overflow float32.
    fits = xp.isfinite(xp.astype(largest / t, logits.dtype))
    shifted = wide - xp.where(fits, 0.0, largest)
    if isinstance(t, float):
        return xp.astype(shifted / t, logits.dtype)
    # The derivative of minus infinity by a temperature would be nan, though nothing depends on it.
    in_play = shifted > -np.inf
    quotient = xp.where(in_play, xp.where(in_play, shifted, 0.0) / t, -np.inf)
    return xp.astype(quotient, logits.dtype)


# ---- probabilities ----


@kernel(rows.log_softmax)
def log_softmax(logits: Array) -> Array:
    """Return the log-probabilities of logits: (..., vocabulary), same shape and dtype.

    Example:
        >>> log_softmax(np.array([0.0, 0.0])).round(4).tolist()
        [-0.6931, -0.6931]
    """
    xp = array_namespace(logits)
    below, _, total = _weights(xp, logits)
    return below - xp.astype(xp.log(total), logits.dtype)


@kernel(rows.softmax)
def softmax(logits: Array) -> Array:
    """Return the probabilities of logits: (..., vocabulary), same shape and dtype; rows sum to 1.

    Example:
        >>> softmax(np.array([0.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    xp = array_namespace(logits)
    _, weights, total = _weights(xp, logits)
    return xp.astype(xp.divide(weights, total), logits.dtype)


def _weights(xp: Any, logits: Array) -> tuple[Array, Array, Array]:
    """Return the logits minus their maximum, the exponentials of these, and their sums."""
    below = subtract_max(logits)
    weights = xp.exp(below)
    # A float32 sum would round away the many small weights of a large vocabulary.
    return below, weights, xp.sum(weights, axis=-1, keepdims=True, dtype=wide_float(xp))


# ---- entropies and surprisals ----


def entropy(probabilities: ArrayLike) -> Array:
    """Return Shannon's entropy of each row, in nats: (..., vocabulary) to (...,).

    A probability of zero adds nothing, as its limit does. The entropy lies between 0 (one token
    is certain) and ln of the vocabulary (all are equally likely).

    Source: Shannon 1948, A mathematical theory of communication.

    Example:
        >>> entropy([[1.0, 0.0], [0.5, 0.5]]).round(4).tolist()
        [0.0, 0.6931]
    """
    p = as_floats(probabilities)
    xp = array_namespace(p)
    terms = p * xp.log(xp.where(p > 0, p, 1.0))
    # Adding 0.0 turns the minus zero of a certain row into zero.
    return 0.0 - xp.sum(terms, axis=-1, dtype=wide_float(xp))


def entropy_of_logits(logits: Array) -> Array:
    """Return the entropy of softmax(logits) in nats: (..., vocabulary) to (...,) in float64.

    It is the log-sum-exp minus the mean logit, which is more exact than a sum over probabilities.
    """
    return min_and_shannon_entropy(logits)[1]


@kernel(rows.min_entropy)
def min_entropy(logits: Array) -> Array:
    """Return the surprisal of each row's likeliest token, -ln max p, in nats, in float64.

    Source: Renyi 1961, On measures of entropy and information.

    Example:
        >>> float(min_entropy(np.log([0.5, 0.25, 0.25])).round(4))
        0.6931
    """
    return min_and_shannon_entropy(logits)[0]


@kernel(rows.min_and_shannon_entropy)
def min_and_shannon_entropy(logits: Array) -> tuple[Array, Array]:
    """Return the min-entropy and the entropy of each row of logits, in nats, in float64.

    Both are exact for a row that is almost certain: the sums leave out the likeliest token, whose
    weight of 1 would round away the small weights of the others.

    Example:
        >>> least, usual = min_and_shannon_entropy(np.log([0.5, 0.25, 0.25]))
        >>> float(least.round(4)), float(usual.round(4))
        (0.6931, 1.0397)
    """
    xp = array_namespace(logits)
    wide = wide_float(xp)
    below = subtract_max(logits)
    below = xp.where(below > NEVER, below, NEVER)  # 0 * -inf would be nan
    weights = xp.where(is_likeliest(logits), 0.0, xp.exp(below))
    rest = xp.sum(weights, axis=-1, dtype=wide)
    moment = xp.sum(weights * below, axis=-1, dtype=wide)
    nats = xp.log1p(rest)
    return nats, nats - moment / (1 + rest)


@kernel(rows.surprisals, check_entries=check_one_id_a_row)
def surprisals(logits: Array, tokens: Array) -> NDArray[np.float64]:
    """Return the surprisal of one token of each row, -ln p, in nats, in float64.

    Args:
        logits: (batch, vocabulary).
        tokens: (batch,) ids.

    Raises:
        UsageError: not one id for each row, or an id outside the vocabulary.

    Example:
        >>> surprisals(np.log([[0.25, 0.75]]), np.array([0])).round(4).tolist()
        [1.3863]
    """
    xp = array_namespace(logits)
    below, _, total = _weights(xp, logits)
    return _surprisal(below, xp.log(total), tokens)


@kernel(rows.surprisals_and_entropy, check_entries=check_one_id_a_row)
def surprisals_and_entropy(
    logits: Array, tokens: Array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the surprisal of one token of each row and the entropy of the row, in one pass.

    The last bits may differ from the result of `surprisals`, which sums in the order of the draw.

    Args and raises: as for `surprisals`.

    Example:
        >>> nats, entropy = surprisals_and_entropy(np.log([[0.25, 0.75]]), np.array([0]))
        >>> nats.round(4).tolist(), entropy.round(4).tolist()
        ([1.3863], [0.5623])
    """
    # Relative to the largest logit, the log-sum is the min-entropy.
    least, entropy = min_and_shannon_entropy(logits)
    return _surprisal(subtract_max(logits), least[:, None], tokens), entropy


def _surprisal(below: Array, ln_total: Array, tokens: Any) -> Any:
    """Return the log-sum minus the token's logit, both relative to the largest logit: (batch,)."""
    xp = array_namespace(below)
    chosen = xp.take_along_axis(below, xp.asarray(tokens)[:, None], axis=-1)
    nats = ln_total - xp.astype(chosen, ln_total.dtype)
    # The two come from different sums, and rounding may put their difference below 0.
    return xp.maximum(nats, xp.zeros_like(nats))[:, 0]


# ---- the draw ----


def draw(logits: Array, uniforms: Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw one token of each row by inverse CDF, with the given uniform numbers.

    A token is drawn where the running sum of the weights first exceeds its uniform number times
    the total. A token of probability zero adds nothing to the sum and cannot be drawn.

    Args:
        logits: (batch, vocabulary), each row with a finite entry.
        uniforms: (batch,) numbers in [0, 1).

    Returns:
        The token ids (batch,) and their surprisals in nats (batch,) under softmax(logits).

    Raises:
        UsageError: not one number for each row, or one that isn't in [0, 1).

    Example:
        >>> draw(np.log(np.array([[0.25, 0.75]])), np.array([0.5]))[0].tolist()
        [1]
    """
    return draw_checked(logits, uniform_numbers(uniforms))[:2]


@kernel(rows.draw, check_entries=check_uniforms)
@np.errstate(over="ignore", invalid="ignore")
def draw_checked(
    logits: Array, uniforms: Array
) -> tuple[NDArray[np.int64], NDArray[np.float64], bool]:
    """Return the results of `draw`, and True if all rows are valid; if not, ignore the results."""
    xp = array_namespace(logits)
    below, weights, _ = _weights(xp, logits)
    sums = xp.cumulative_sum(weights, axis=-1, dtype=wide_float(xp))
    total = sums[:, -1:]
    target = xp.astype(xp.asarray(uniforms), sums.dtype)[:, None] * total
    # The sum reaches its total at the last possible token, which rounding must not pass.
    tokens = running_count((sums <= target) & (sums < total))[:, -1]
    return tokens, _surprisal(below, xp.log(total), tokens), rows_are_valid(logits)
