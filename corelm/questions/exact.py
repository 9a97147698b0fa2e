"""The exact distribution that a sampler draws from."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from corelm.contracts.chain_stages import apply
from corelm.contracts.context import Context
from corelm.contracts.sampling import Sampler
from corelm.contracts.validation import check_logits
from corelm.errors import UsageError
from corelm.numerics.arrays import is_masked
from corelm.numerics.distributions import Array, softmax
from corelm.registry.expressions import sampler as read_sampler
from corelm.text.printable import shown


def sampling_distribution(
    sampler: Sampler | str, logits: ArrayLike, tokens: ArrayLike | None = None
) -> Array:
    """Return the exact distribution that a sampler draws from, as a NumPy array.

    For an array of another library, call the sampler yourself:
    `corelm.softmax(sampler(logits, context))`. That skips the checks of this function.

    Args:
        sampler: a sampler, a registered name or an expression.
        logits: (vocabulary,) or (batch, vocabulary), as np.asarray takes them; minus infinity
            means never.
        tokens: ids of the context, (time,) or (batch, time); empty by default.

    Returns:
        Probabilities in the shape and dtype of the logits; rows sum to 1.

    Raises:
        ModelOutputError: logits with NaN, +infinity or an empty row.
        UsageError: logits or tokens that aren't arrays of numbers, or an expression that names no
            sampler.
        SamplerError: the sampler raised or returned invalid logits.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution("greedy", [1.0, 3.0, 2.0]).tolist()
        [0.0, 1.0, 0.0]
    """
    if is_masked(logits):
        raise UsageError("logits must be a plain array, not a MaskedArray; fill it with -np.inf")
    array = _as_array("logits", logits)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim not in (1, 2) or array.shape[-1] == 0:
        raise UsageError(f"logits must be (vocabulary,) or (batch, vocabulary), not {array.shape}")
    rows = np.atleast_2d(array)
    check_logits(rows)
    batch = len(rows)
    ids = (
        np.empty((batch, 0), np.int64) if tokens is None else _as_array("tokens", tokens, np.int64)
    )
    ids = np.atleast_2d(ids)
    if ids.ndim != 2 or len(ids) not in (1, batch):
        raise UsageError(f"tokens must be (time,) or ({batch}, time), not {ids.shape}")
    context = Context.of(np.broadcast_to(ids, (batch, ids.shape[1])))
    result = softmax(apply(read_sampler(sampler), rows, context))
    return result.reshape(array.shape)


def _as_array(name: str, numbers: ArrayLike, dtype: type | None = None) -> Array:
    """Return numbers as an array; raise if they aren't numbers, or rows differ in length."""
    try:
        array = np.asarray(numbers, dtype=dtype)
        return array if array.dtype.kind in "fiub" else array.astype(np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} must be an array of numbers with equal rows, not {shown(numbers)}"
        ) from None
