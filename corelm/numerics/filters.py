"""Formulas that samplers share: filters, and the order of tokens.

Each filter is defined once, with a sort of the row, for arrays of any library; compiled kernels
that need no sort serve float32 on the processor (`corelm/native/backend.py`). A filter that only
one sampler needs is in the sampler's file. The falling order of a row has the likeliest token
first, and the lowest id first on ties.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.errors import ParameterError
from corelm.native import rows
from corelm.native.backend import kernel
from corelm.numerics.arrays import (
    array_namespace,
    as_floats,
    in_library_of,
    is_number,
    running_count,
    wide_float,
)
from corelm.numerics.distributions import (
    Array,
    apply_temperature,
    is_likeliest,
    mask_logits,
    min_entropy,
    softmax,
)

SLACK = 1e-12
"""The relative tolerance at which a sum of decimals still meets a decimal."""


# ---- checks of arguments, the same for kernels and definitions ----


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


def surprisal_of_probability(probability: float) -> float:
    """Return -ln of one probability, in nats: infinity for 0.

    Example:
        >>> surprisal_of_probability(1.0), surprisal_of_probability(0.0)
        (0.0, inf)
    """
    return 0.0 - math.log(probability) if probability > 0 else math.inf


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


@kernel(rows.within_min_entropy)
def within_min_entropy(logits: Array, nats: Any, times: float) -> Array:
    """Keep the tokens at most nats + times * the row's min-entropy below the likeliest.

    Args:
        logits: (batch, vocabulary).
        nats: one number, or (batch,) of NumPy.
        times: multiplies the min-entropy, the surprisal of the likeliest token.

    Example:
        >>> within_min_entropy(np.log([[0.5, 0.1, 0.4]]), np.log(2), -0.5).round(4).tolist()
        [[-0.6931, -inf, -0.9163]]
    """
    bound = in_library_of(logits, nats) if isinstance(nats, np.ndarray) else nats
    return within_nats(logits, bound + times * min_entropy(logits))


Tokens = NDArray[np.intp]


def in_falling_order(row: Array, tokens: Tokens) -> Tokens:
    """Sort tokens of a row, the likeliest first, the lowest id first on ties.

    Args:
        row: (vocabulary,) logits.
        tokens: ids, rising.

    Example:
        >>> in_falling_order(np.array([1.0, 3.0, 2.0, 3.0]), np.array([0, 1, 3])).tolist()
        [1, 3, 0]
    """
    # Stable on the negated logits: reversing a rising sort would put the highest id first.
    ordered: Tokens = tokens[np.argsort(-row[tokens], kind="stable")]
    return ordered


def likeliest_tokens(row: Array, k: int) -> Tokens:
    """Return the k likeliest tokens of a row in falling order; fewer where fewer are in play.

    Args:
        row: (vocabulary,) logits.
        k: at least 1; more than the vocabulary is the vocabulary.

    Example:
        >>> likeliest_tokens(np.array([1.0, 3.0, 2.0, 2.0]), 2).tolist()
        [1, 2]
    """
    filtered = top_k(row, min(k, np.size(row)))
    return in_falling_order(row, np.flatnonzero(filtered > -np.inf))


def rank(row: Array, token: int) -> int:
    """Return the place of a token in falling order, 1 for the likeliest.

    Args:
        row: (vocabulary,) logits.
        token: its id.

    Example:
        >>> [rank(np.array([1.0, 3.0, 2.0, 3.0]), token) for token in range(4)]
        [4, 1, 3, 2]
    """
    # Two counts are linear; a sort of 100,000 logits for one rank is not.
    tied_before = np.count_nonzero(row[:token] == row[token])
    return 1 + int(np.count_nonzero(row > row[token]) + tied_before)


def reweight_distribution(original_distribution: ArrayLike, temperature: float = 0.5) -> Array:
    """Reweight probabilities by a softmax temperature: the book's function, safe at its edges.

    Args:
        original_distribution: (..., vocabulary) probabilities; each row is normalised first.
        temperature: at least 0; 0 puts all on the likeliest token, 1 changes nothing.

    Returns:
        The new probabilities, same shape.

    Raises:
        ParameterError: a negative or nan temperature, or rows that are not distributions.

    Source: Chollet 2021, Deep learning with Python, second edition, section 12.1.

    Example:
        >>> reweight_distribution([0.2, 0.8], temperature=0.5).round(4).tolist()
        [0.0588, 0.9412]
    """
    p = as_floats(original_distribution)
    if not temperature >= 0:
        raise ParameterError(f"temperature must be at least 0, not {temperature!r}")
    if p.ndim == 0 or p.shape[-1] == 0 or not (p >= 0).all() or not np.isfinite(p).all():
        raise ParameterError("a distribution holds finite numbers that are at least 0")
    if not (p.sum(axis=-1) > 0).all():
        raise ParameterError("a distribution needs at least one number above 0 in each row")
    with np.errstate(divide="ignore"):
        return softmax(apply_temperature(np.log(p), float(temperature)))
