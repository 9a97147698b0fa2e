"""What filters share: which tokens of a row are the largest, found without sorting the row.

A filter names the tokens that it keeps as positions in the flattened rows. A vocabulary has
hundreds of thousands of tokens of which a filter keeps few, so nothing here sorts more than it
needs, and rows are taken as many at a time as the processor's cache holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.numerics.distributions import Array
from corelm.threads import spread

Tokens = NDArray[np.intp]

SLACK = 1e-12
"""How far, relative to it, a sum of decimals may stay below a decimal and still meet it."""

CACHED = 2**18
"""Logits to work on at a time: many enough that NumPy's calls pay, and few enough for a cache
and for the system to leave their memory in place from one call to the next."""

PARALLEL, COSTLY = 2**20, 2**18
"""Logits that are worth another core, and those of which the exponentials are."""

BLOCK = 128
"""Terms per block of a two-level running sum."""

FEW = 512
"""Terms that are summed up in one level: two would take longer."""

FIRST, GROWTH = 64, 8
"""How many values `falling_logits` looks for first, and how many times as many each time after."""


def by_rows(logits: Array, write: Callable[[Array, Array], None], *, costly: bool = False) -> Array:
    """Make new logits a few rows at a time, on several threads where that pays.

    Args:
        logits: (batch, vocabulary).
        write: is given some of the rows and the place for what becomes of them, of the same
            shape; it treats each row alone.
        costly: whether it takes exponentials, so that fewer rows are worth another core.

    Example:
        >>> by_rows(np.array([[3.0, 1.0]]), lambda rows, out: np.negative(rows, out=out)).tolist()
        [[-3.0, -1.0]]
    """
    logits = np.ascontiguousarray(logits)
    out = np.empty_like(logits)
    batch, vocabulary = logits.shape
    step = max(1, CACHED // vocabulary)

    def work(part: slice) -> None:
        for start in range(part.start, part.stop, step):
            some = slice(start, min(start + step, part.stop))
            write(logits[some], out[some])

    worth = logits.size >= (COSTLY if costly else PARALLEL)
    spread(work, batch, least=1 if worth else max(batch, 1))
    return out


def filter_logits(
    logits: Array, choose: Callable[[Array], Tokens], *, costly: bool = False
) -> Array:
    """The logits of the tokens that are chosen, minus infinity elsewhere.

    Args:
        logits: (batch, vocabulary).
        choose: from some of the rows to the positions, in those rows flattened, of the tokens to
            keep; it treats each row alone.
        costly: whether it takes exponentials, so that fewer rows are worth another core.

    Example:
        >>> filter_logits(np.array([[3.0, 1.0]]), lambda rows: np.flatnonzero(rows > 2)).tolist()
        [[3.0, -inf]]
    """

    def write(rows: Array, out: Array) -> None:
        out.fill(-np.inf)
        kept = choose(rows)
        out.reshape(-1)[kept] = rows.take(kept)

    return by_rows(logits, write, costly=costly)


def filter_each_row(logits: Array, choose: Callable[[Array], Tokens]) -> Array:
    """The logits of the tokens that are chosen in each row, minus infinity elsewhere.

    Args:
        logits: (batch, vocabulary).
        choose: from one row, (vocabulary,), to the ids of the tokens to keep.

    Example:
        >>> filter_each_row(np.array([[3.0, 1.0]]), lambda row: np.flatnonzero(row > 2)).tolist()
        [[3.0, -inf]]
    """

    def all_of(rows: Array) -> Tokens:
        size = rows.shape[1]
        return np.concatenate([choose(row) + i * size for i, row in enumerate(rows)])

    return filter_logits(logits, all_of)


def at_least(value: ArrayLike, bar: ArrayLike) -> Any:
    """Whether a value is at least the bar, but for rounding: a tie in decimals stays a tie.

    Args:
        value: a number or an array, at least 0.
        bar: a number or an array, at least 0.

    Example:
        >>> 0.1 + 0.7 >= 0.8, bool(at_least(0.1 + 0.7, 0.8))
        (False, True)
    """
    reached: Any = np.asarray(value) >= np.asarray(bar) * (1 - SLACK)
    return reached


def tokens_within(rows: Array, nats: ArrayLike) -> Tokens:
    """The tokens at most so many nats less likely than the likeliest of their row.

    No softmax is needed for it. Where the number is below 0, the likeliest token stands alone.

    Args:
        rows: (batch, vocabulary) logits.
        nats: one number, or (batch,) of them.

    Returns:
        Positions in the flattened rows, rising.

    Example:
        >>> tokens_within(np.log([[0.5, 0.1, 0.4]]), np.log(2)).tolist()
        [0, 2]
    """
    tops = rows.max(axis=-1)
    least = np.subtract(tops, nats, dtype=np.float64) - SLACK
    kept = rows >= _rounded_up(least, rows.dtype)[:, None]
    alone = np.broadcast_to(np.less(nats, -SLACK), tops.shape)
    for row in np.flatnonzero(alone):
        kept[row] = False
        kept[row, rows[row].argmax()] = True
    return np.flatnonzero(kept)


def _rounded_up(least: NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    """The smallest finite numbers of a type that are at least these."""
    with np.errstate(over="ignore"):
        near = np.maximum(least.astype(dtype), np.finfo(dtype).min)
        up: Array = np.where(near < least, np.nextafter(near, dtype.type(np.inf)), near)
    return up


def largest_tokens(rows: Array, k: int) -> Tokens:
    """The k largest logits of each row that are not minus infinity, the lowest id first on ties.

    Args:
        rows: (batch, vocabulary) logits.
        k: at least 1 and at most the vocabulary.

    Returns:
        Positions in the flattened rows, in no order.

    Example:
        >>> sorted(largest_tokens(np.array([[1.0, 3.0, 2.0, 2.0]]), 2).tolist())
        [1, 2]
    """
    tokens, tops = _candidates(rows, k)
    values = rows.take(tokens)
    kth = np.partition(values, -k, axis=-1)[:, -k, None]
    kth = np.maximum(kth, np.finfo(rows.dtype).min)  # minus infinity is not counted
    kept = values >= kth
    tied = np.maximum(kept.sum(axis=-1), (tops >= kth).sum(axis=-1)) > k
    if not tied.any():
        largest: Tokens = tokens[kept]
        return largest
    kept[tied] = False
    size = rows.shape[1]
    ordered = [first_tokens(rows[i], kth[i, 0], k) + i * size for i in np.flatnonzero(tied)]
    return np.concatenate([tokens[kept], *ordered])


def _candidates(rows: Array, count: int) -> tuple[Tokens, Array]:
    """The positions of tokens among which the largest of each row are, ties left aside.

    A row is laid out in columns. The `count` columns with the largest tops hold the `count`
    largest logits, so that one pass leaves few candidates. Also returned: the tops.
    """
    batch, size = rows.shape
    starts = np.arange(0, batch * size, size)[:, None]
    height = _height(size, count)
    if height < 2:
        return starts + np.arange(size), rows
    width = size // height
    tops = rows[:, : height * width].reshape(batch, height, width).max(axis=1)
    columns = np.argpartition(tops, -count, axis=-1)[:, None, -count:]
    inside: Tokens = (columns + np.arange(0, height * width, width)[:, None]).reshape(batch, -1)
    if size % height:
        rest = np.broadcast_to(np.arange(height * width, size), (batch, size % height))
        inside = np.concatenate([inside, rest], axis=-1)
    return starts + inside, tops


def _height(size: int, count: int) -> int:
    """How high the columns are, so that finding the tops that count costs as much as they do."""
    return math.isqrt(size // (2 * count))


def first_tokens(row: Array, value: float, count: int) -> Tokens:
    """The first tokens of a row in falling order, the lowest id first on ties.

    Args:
        row: (vocabulary,) logits.
        value: the last logit of that prefix.
        count: how many tokens the prefix has.

    Returns:
        Their ids, rising.

    Example:
        >>> first_tokens(np.array([1.0, 3.0, 2.0, 2.0]), 2.0, 2).tolist()
        [1, 2]
    """
    tokens = np.flatnonzero(row >= max(value, np.finfo(row.dtype).min))
    over = len(tokens) - count
    if over <= 0:
        return tokens
    return np.delete(tokens, np.flatnonzero(row[tokens] == value)[-over:])


def in_falling_order(row: Array, tokens: Tokens) -> Tokens:
    """Tokens of a row with the likeliest first, the lowest id first on ties.

    Args:
        row: (vocabulary,) logits.
        tokens: ids, rising.

    Example:
        >>> in_falling_order(np.array([1.0, 3.0, 2.0, 3.0]), np.array([0, 1, 3])).tolist()
        [1, 3, 0]
    """
    ordered: Tokens = tokens[np.argsort(-row[tokens], kind="stable")]
    return ordered


def rank(row: Array, token: int) -> int:
    """The place of a token in that order, 1 for the likeliest.

    Args:
        row: (vocabulary,) logits.
        token: its id.

    Example:
        >>> [rank(np.array([1.0, 3.0, 2.0, 3.0]), token) for token in range(4)]
        [4, 1, 3, 2]
    """
    tied_before = np.count_nonzero(row[:token] == row[token])
    return 1 + int(np.count_nonzero(row > row[token]) + tied_before)


def falling_logits(row: Array) -> Iterator[Array]:
    """The logits of a row in falling order, in longer and longer prefixes until it is all.

    Who needs few asks for few. A prefix holds all or none of the logits that are equal; minus
    infinity is left out.

    Args:
        row: (vocabulary,) logits.

    Example:
        >>> [prefix.tolist() for prefix in falling_logits(np.array([1.0, 3.0, -np.inf]))]
        [[3.0, 1.0]]
    """
    count = FIRST
    while (height := _height(len(row), count)) > 1:
        width = len(row) // height
        tops = row[: height * width].reshape(height, width).max(axis=0)
        bound = np.partition(tops, -count)[-count]  # at most the count-th largest logit
        if bound == -np.inf:
            break
        yield _fallen(row[row >= bound])
        count *= GROWTH
    yield _fallen(row)


def _fallen(logits: Array) -> Array:
    rising = np.sort(logits)
    return rising[rising.searchsorted(-np.inf, side="right") :][::-1].copy()


def first_where(terms: Array, found: Callable[[Array], Any]) -> int:
    """The first place at which something holds of the running sums of terms.

    The sums are in float64 and have two levels, over blocks of terms and then inside one.

    Args:
        terms: (..., n) numbers to add up along the last axis.
        found: from running sums (..., m) to m truth values; once true, it stays true.

    Returns:
        The place, from 0 to n - 1, or n where it never holds.

    Example:
        >>> first_where(np.array([0.5, 0.25, 0.25]), lambda mass: mass >= 0.7)
        1
    """
    size: int = terms.shape[-1]
    if size <= FEW:
        here: Array = found(terms.cumsum(axis=-1, dtype=np.float64))
        return int(here.argmax()) if here[-1] else size
    starts = np.arange(0, size, BLOCK)
    sums = np.add.reduceat(terms, starts, axis=-1, dtype=np.float64).cumsum(axis=-1)
    blocks: Array = found(sums)
    if not blocks[-1]:
        return size
    block = int(blocks.argmax())
    before = sums[..., block - 1, None] if block else 0.0
    inside = terms[..., block * BLOCK : (block + 1) * BLOCK].cumsum(axis=-1, dtype=np.float64)
    places: Array = found(before + inside)
    # Where the block's two sums differ in their last bit, its last place is the one.
    return block * BLOCK + (int(places.argmax()) if places[-1] else places.size - 1)
