"""Logits under a mask: the tokens that it does not allow become impossible."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm.numerics.arrays import array_namespace, in_library_of
from corelm.numerics.distributions import Array, greedy, keep

GLANCE = 128
"""Tokens at the beginning of a row, which are checked first: mostly one of them is still there."""


def apply_mask(
    logits: Array, allowed: NDArray[np.bool_], model_logits: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Remove the tokens that a mask does not allow; never leave a row empty.

    Where nothing is left, the model's likeliest allowed token gets all probability; where the model
    gives no allowed token a probability either, the model's likeliest token.

    Args:
        logits: (batch, vocabulary), of any array library.
        allowed: (batch, vocabulary), of NumPy.
        model_logits: (batch, vocabulary), of the library of the logits.

    Returns:
        The logits; the rows in which nothing was left, (batch,) of NumPy.

    Example:
        >>> allowed = np.array([[False, True, True]])
        >>> model, one_left = np.array([[3.0, 2.0, 1.0]]), np.array([[3.0, -np.inf, -np.inf]])
        >>> after, fell_back = apply_mask(one_left, allowed, model)
        >>> after.tolist(), fell_back.tolist()
        ([[-inf, 0.0, -inf]], [True])
    """
    xp = array_namespace(logits)
    if xp is np:
        kept = _keep(logits, allowed)
        if (kept[:, :GLANCE].max(axis=-1) > -np.inf).all():
            return kept, np.zeros(len(kept), dtype=bool)
    else:
        kept = keep(logits, in_library_of(logits, allowed))
    emptied = xp.max(kept, axis=-1, keepdims=True) == -np.inf
    possible = keep(model_logits, in_library_of(logits, allowed))
    impossible = xp.max(possible, axis=-1, keepdims=True) == -np.inf
    likeliest = greedy(xp.where(impossible, model_logits, possible))
    return xp.where(emptied, likeliest, kept), _as_numpy(emptied)[:, 0]


def _keep(logits: Array, allowed: NDArray[np.bool_]) -> Array:
    """Return `keep(logits, allowed)` in a fraction of its time: indices are faster than `where`."""
    if 2 * np.count_nonzero(allowed) > allowed.size:
        kept: Array = np.array(logits, order="C")
        kept.reshape(-1)[np.flatnonzero(~allowed)] = -np.inf
    else:
        kept = np.full_like(logits, -np.inf, order="C")
        places = np.flatnonzero(allowed)
        kept.reshape(-1)[places] = logits.reshape(-1)[places]
    return kept


def _as_numpy(array: Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.asarray(array.cpu() if hasattr(array, "cpu") else array)
    return found
