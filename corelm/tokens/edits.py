"""Read and change single tokens: counts of tokens, and logits.

For samplers that read the context. The context is NumPy's; logits may be of any array library, and
gradients flow through the functions that change them. The functions touch only the tokens
concerned; the rest of a row costs one copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.context import Context, ListingContext
from corelm.native import rows as kernels
from corelm.native.backend import kernel
from corelm.numerics.arrays import array_namespace, in_library_of, replace_entries, widen
from corelm.numerics.distributions import Array
from corelm.numerics.masks import Forbidden, apply_mask, forbid_tokens

Ids = NDArray[np.int64]


def _in_vocabulary(rows: ArrayLike, ids: ArrayLike, size: int) -> tuple[Ids, Ids]:
    """Return rows and ids as arrays, without the ids that a vocabulary lacks.

    Args:
        rows: of any shape that broadcasts with the ids.
        ids: an engine's context may hold ids that have no logit.
        size: the number of ids in the vocabulary.
    """
    rows, ids = np.asarray(rows, dtype=np.int64), np.asarray(ids, dtype=np.int64)
    # Without a sign, an id below 0 is a large one: one pass finds both kinds. Usually all are fine.
    if not ids.size or ids.view(np.uint64).max() < size:
        return rows, ids
    rows, ids = np.broadcast_arrays(rows, ids)
    exists = (ids >= 0) & (ids < size)
    return rows[exists], ids[exists]


def token_counts(tokens: ArrayLike, vocabulary: int) -> tuple[Ids, Ids, Ids]:
    """Count how often each token occurs in each row.

    Args:
        tokens: (batch, time) ids; those outside the vocabulary are left out.
        vocabulary: the number of ids.

    Returns:
        Rows, ids and counts: three arrays with one entry for each distinct token of a row.

    Example:
        >>> rows, ids, counts = token_counts([[5, 2, 5], [2, 2, 2]], vocabulary=9)
        >>> rows.tolist(), ids.tolist(), counts.tolist()
        ([0, 0, 1], [2, 5, 2], [1, 2, 3])
    """
    tokens = np.asarray(tokens, dtype=np.int64)
    rows, ids = _in_vocabulary(np.arange(len(tokens))[:, None], tokens, vocabulary)
    # One number for each pair of row and id, so that one sort counts all rows.
    keys, counts = np.unique(rows * vocabulary + ids, return_counts=True)
    return keys // vocabulary, keys % vocabulary, counts


def change_logits(
    logits: Array,
    rows: ArrayLike | None,
    ids: ArrayLike,
    change: Callable[[Array], Array] | None = None,
    *,
    divide: float = 1.0,
    subtract: ArrayLike = 0.0,
) -> Array:
    """Return a copy of the logits in which the logits of some tokens are changed.

    A change neither removes a token nor brings one back: a logit too large for its type becomes
    the largest number of that type, and minus infinity stays.

    Args:
        logits: (batch, vocabulary), of any array library.
        rows: the rows of the tokens, (tokens,), or a shape that broadcasts with the ids. None: the
            ids are (batch, tokens), or (tokens,) of every row.
        ids: the id of each token, (tokens,). A repeated pair is changed once, and ids outside the
            vocabulary are left out.
        change: maps their logits, (tokens,) in float64 where the library has it, to the new ones.
            It must pass its own arrays through `in_library_of(logit, numbers)`.
        divide: without `change`, a number that divides the logits above 0 and multiplies others.
        subtract: what is subtracted then; a number, or one for each id.

    Example:
        >>> logits = np.array([[1.0, 2.0]])
        >>> change_logits(logits, [0], [1], subtract=0.5).tolist()
        [[1.0, 1.5]]
        >>> change_logits(logits, None, [1], lambda logit: logit / 2).tolist()
        [[1.0, 1.0]]
    """
    if change is None:
        _, *numbers = token_change(rows, ids, divide=divide, subtract=subtract)
        return _change_tokens(logits, *numbers)
    owners = np.arange(logits.shape[0])[:, None] if rows is None else rows
    owners, ids = _in_vocabulary(owners, ids, logits.shape[1])
    return _change_at(logits, owners * logits.shape[1] + ids, change)


def token_change(
    rows: ArrayLike | None, ids: ArrayLike, *, divide: float = 1.0, subtract: ArrayLike = 0.0
) -> tuple[Any, ...]:
    """Return the call of a `KernelSampler` that changes tokens as `change_logits` does.

    Args:
        rows, ids, divide, subtract: as for `change_logits`.
    """
    ids = np.asarray(ids, dtype=np.int64)
    numbers = np.asarray(subtract, dtype=np.float64)
    if rows is not None:
        rows, ids, numbers = _rising(rows, ids, numbers)
    elif numbers.ndim and numbers.shape != ids.shape:
        numbers = np.broadcast_to(numbers, ids.shape)
    owners = (ids.shape[1] if ids.ndim > 1 else 0) if rows is None else rows
    less = numbers.ravel() if numbers.ndim else float(numbers)
    return _change_tokens, ids.ravel(), owners, divide, less


def _rising(rows: ArrayLike, ids: Ids, numbers: Array) -> tuple[Ids, Ids, Array]:
    """Sort tokens by their row; return the rows, ids and numbers, each (tokens,)."""
    owners = np.asarray(rows, dtype=np.int64)
    if owners.shape != ids.shape or numbers.ndim:
        owners, ids, numbers = np.broadcast_arrays(owners, ids, numbers)
    owners, ids, numbers = owners.ravel(), ids.ravel(), numbers.ravel() if numbers.ndim else numbers
    if (owners[1:] < owners[:-1]).any():
        order = owners.argsort(kind="stable")  # of a repeated pair, the last number stays the last
        owners, ids = owners[order], ids[order]
        numbers = numbers[order] if numbers.ndim else numbers
    return owners, ids, numbers


@kernel(kernels.change_tokens, by_row=False)
def _change_tokens(
    logits: Array, ids: Ids, owners: Ids | int, divide: float, subtract: float | NDArray[np.float64]
) -> Array:
    """Do the work of `change_logits` without `change`.

    Args:
        logits: (batch, vocabulary).
        ids: (tokens,).
        owners: the row of each, rising; or how many each row has, 0 where each has all.
        divide, subtract: as for `change_logits`; `subtract` has one number for each id, or is one.
    """
    xp, less = array_namespace(logits), np.asarray(subtract)
    if isinstance(owners, int):
        shape = (logits.shape[0], owners or len(ids))
        ids = ids.reshape(shape) if owners else np.broadcast_to(ids, shape)
        if less.ndim:
            less = less.reshape(shape) if owners else np.broadcast_to(less, shape)
        owners = np.broadcast_to(np.arange(shape[0])[:, None], shape)
    exists = (ids >= 0) & (ids < logits.shape[1])
    less = less[exists] if less.ndim else less

    def change(logit: Array) -> Array:
        scaled = xp.where(logit > 0, logit / divide, logit * divide)
        lower: Array = scaled - in_library_of(logit, less)
        return lower

    return _change_at(logits, owners[exists] * logits.shape[1] + ids[exists], change)


# An infinite change turns only minus infinity into nan, and minus infinity is restored below.
@np.errstate(over="ignore", invalid="ignore")
def _change_at(logits: Array, at: Ids, change: Callable[[Array], Array]) -> Array:
    """Do the work of `change_logits` at places in the flattened logits.

    Args:
        logits: (batch, vocabulary).
        at: the places in the flattened logits, of any shape.
        change: as for `change_logits`.
    """
    xp, limits = array_namespace(logits), array_namespace(logits).finfo(logits.dtype)
    flat = xp.reshape(logits, (-1,))
    before = widen(xp.take(flat, in_library_of(logits, at.ravel()), axis=0))
    after = change(xp.reshape(before, at.shape))
    after = xp.reshape(xp.clip(after, limits.min, limits.max), (-1,))
    after = xp.astype(xp.where(before > -np.inf, after, -np.inf), logits.dtype)
    # A repeated place would get the gradient of its result twice.
    places, first = np.unique(at, return_index=True)
    after = xp.take(after, in_library_of(logits, first), axis=0)
    result: Array = xp.reshape(replace_entries(flat, places, after), logits.shape)
    return result


def remove_tokens(logits: Array, rows: ArrayLike | None, ids: ArrayLike) -> Array:
    """Return a copy of the logits in which some tokens are impossible.

    A row that would be left empty keeps its most likely token, the lowest id on ties, with logit 0.

    Args:
        logits: (batch, vocabulary), of any array library.
        rows: the rows of the tokens, (tokens,), or a shape that broadcasts with the ids; None for
            all rows.
        ids: the id of each token, (tokens,).

    Example:
        >>> remove_tokens(np.array([[1.0, 2.0], [3.0, 0.0]]), [0, 1, 1], [1, 0, 1]).tolist()
        [[1.0, -inf], [0.0, -inf]]
    """
    forbidden = _forbidden(rows, ids)
    if array_namespace(logits) is np:  # without a mask, in a third of the time
        removed, is_valid = forbid_tokens(logits, *forbidden)
        if is_valid:
            return removed
    return apply_mask(logits, forbidden.allowed(logits.shape), logits)[0]


def allow_all_but(context: Context, rows: ArrayLike | None, ids: ArrayLike) -> NDArray[np.bool_]:
    """Return a mask that allows all tokens except these: (batch, vocabulary).

    Args:
        context: the tokens so far.
        rows: the rows of the tokens, (tokens,), or a shape that broadcasts with the ids; None for
            all rows.
        ids: the id of each token, (tokens,). Ids outside the vocabulary are left out.

    Example:
        >>> from corelm import Context
        >>> context = Context.of([[0], [1]], vocabulary_size=3)
        >>> allow_all_but(context, rows=[0, 1], ids=[2, 0]).tolist()
        [[True, True, False], [False, True, True]]
    """
    forbidden = _forbidden(rows, ids)
    if isinstance(context, ListingContext):
        return forbidden  # type: ignore[return-value]
    return forbidden.allowed((context.batch, context.vocabulary_size))


def _forbidden(rows: ArrayLike | None, ids: ArrayLike) -> Forbidden:
    ids = np.asarray(ids, dtype=np.int64)
    if rows is None:
        return Forbidden(ids, 0)
    owners, ids, _ = _rising(rows, ids, np.zeros(()))
    return Forbidden(ids, owners)
