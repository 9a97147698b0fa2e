"""The order of tokens in one row of logits: the likeliest first, the lowest id first on ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm.numerics.distributions import Array
from corelm.numerics.filters import top_k

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
    kept = top_k(row, min(k, np.size(row)))
    return in_falling_order(row, np.flatnonzero(kept > -np.inf))


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
