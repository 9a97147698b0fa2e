"""The part of a batch of texts that a model sees: all of a short text, a window of a long one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.errors import UsageError
from corelm.language_model import Vocabulary, window_start

LEAST = 64
"""The smallest number of tokens that memory is allocated for."""


def padded_rows(tokens: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return (batch, time) ids with zeros after shorter rows, and the length of each row.

    Raises:
        UsageError: neither (batch, time) ids nor a list of ids for each row.

    Example:
        >>> ids, lengths = padded_rows([[3, 4], [5]])
        >>> ids.tolist(), lengths.tolist()
        ([[3, 4], [5, 0]], [2, 1])
    """
    if isinstance(tokens, (list, tuple)) and len({np.shape(row) for row in tokens}) > 1:
        rows = [np.asarray(row) for row in tokens]
        if any(row.ndim != 1 for row in rows):
            raise UsageError("tokens must be a list of ids for each row")
        lengths = np.array([len(row) for row in rows])
        ids = np.zeros(
            (len(rows), lengths.max()), dtype=np.result_type(*(r for r in rows if r.size))
        )
        for row, padded in zip(rows, ids, strict=True):
            padded[: len(row)] = row
        return ids, lengths
    ids = np.asarray(tokens)
    if ids.ndim != 2:
        raise UsageError(f"tokens must be (batch, time) ids, not an array of shape {ids.shape}")
    return ids, np.full(len(ids), ids.shape[1])


class SlidingWindow:
    """A batch of texts of any lengths, and the part of each that a model sees.

    A text begins with the vocabulary's start token, if there is one; the window includes it.

    Args:
        tokens: (batch, time) ids, or a list of ids for each row; a row is a text from its
            beginning.
        vocabulary: decides the valid ids and the start token.
        context_length: the largest number of tokens that the model sees.

    Attributes:
        lengths: (batch,) the number of tokens in each text, including the one that begins it.
        length: that number of the longest text.
        is_equal: True if all texts have one length.

    Raises:
        UsageError: no ids, ids outside the vocabulary, or an empty text without a start token.
    """

    def __init__(self, tokens: ArrayLike, vocabulary: Vocabulary, context_length: int) -> None:
        ids, lengths = padded_rows(tokens)
        self._size = len(vocabulary)
        self._context_length = context_length
        self._room: NDArray[np.int64] = np.empty(ids.shape, dtype=np.int64)
        self._shortest = self.length = 0
        self._set_lengths(np.zeros(len(ids), dtype=np.int64))
        if vocabulary.start is not None:
            self.extend(np.full((len(ids), 1), vocabulary.start))
        elif lengths.min(initial=ids.shape[1]) == 0:
            raise UsageError("this model cannot continue an empty text; give it at least one token")
        before = self.lengths
        self.extend(ids)
        self._set_lengths(before + lengths)

    @property
    def texts(self) -> NDArray[np.int64]:
        """(batch, length) ids: the texts from their beginning; do not write into them.

        A text shorter than others is followed by ids that mean nothing.
        """
        return self._room[:, : self.length]

    @property
    def runs(self) -> list[slice]:
        """The rows in groups of neighbours that have one length."""
        if self.is_equal:
            return [slice(0, len(self.lengths))]
        bounds = [0, *(np.flatnonzero(np.diff(self.lengths)) + 1).tolist(), len(self.lengths)]
        return [slice(first, end) for first, end in pairwise(bounds)]

    @property
    def starts(self) -> NDArray[np.int64]:
        """(batch,) the position in each text at which its window begins."""
        if self.length <= self._context_length:
            return np.zeros(len(self.lengths), dtype=np.int64)
        starts = [window_start(length, self._context_length) for length in self.lengths.tolist()]
        return np.array(starts, dtype=np.int64)

    def windows(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of each text from a position on, (batch, time).

        A window shorter than others is followed by ids that mean nothing.

        Args:
            starts: (batch,) positions.
        """
        time = int((self.lengths - starts).max(initial=0))
        if not starts.any():
            return self._room[:, :time]
        positions = starts[:, None] + np.arange(time)
        return np.take_along_axis(self._room, np.minimum(positions, self.length - 1), axis=1)

    def spans(self, count: int, rows: slice = slice(0, 1)) -> Iterator[tuple[int, int, int]]:
        """Yield the windows in which a model sees each of the last tokens as the last one.

        Args:
            count: the number of tokens, at least 1.
            rows: rows of one length, one of `runs`; by default those of the first row's.

        Yields:
            The start and the end of a window in the texts, and the number of tokens at its end
            that belong to the last ones.

        Raises:
            UsageError: fewer tokens than one, or more than a text has.
        """
        length = self.length if self.is_equal else int(self.lengths[rows.start])
        if not 1 <= count <= length:
            raise UsageError(f"there are no last {count} tokens in a text of {length}")
        done = length - count
        # A window slides only when it is full, so one pass serves all tokens up to its end.
        while done < length:
            start = window_start(done + 1, self._context_length)
            stop = min(start + self._context_length, length)
            yield start, stop, stop - done
            done = stop

    def extend(self, tokens: ArrayLike) -> None:
        """Append ids of shape (batch,) or (batch, time)."""
        ids = self._checked(tokens)
        count, before = ids.shape[1], self.length
        self._reserve(len(ids), before + count)
        if self.is_equal:
            self._room[:, before : before + count] = ids
        else:
            rows = np.arange(len(ids))[:, None]
            self._room[rows, self.lengths[:, None] + np.arange(count)] = ids
        self._move_ends(count)

    def rewind(self, count: int) -> None:
        """Drop the last tokens of each row.

        Raises:
            UsageError: as many tokens as a text has, or more; its first token stays.
        """
        if not 0 <= count < self._shortest:
            raise UsageError(f"a text of {self._shortest} tokens cannot lose its last {count}")
        self._move_ends(-count)  # the next tokens overwrite the dropped ones

    def select(self, rows: NDArray[Any]) -> None:
        """Keep these rows in this order."""
        self._room = self._room[rows]
        self._set_lengths(self.lengths[rows])

    def join(self, other: SlidingWindow) -> None:
        """Add the rows of another window after the own ones."""
        batch, time = len(self.lengths), other.length
        self._reserve(batch + len(other.lengths), max(self.length, time))
        self._room[batch:, :time] = other.texts
        self._set_lengths(np.concatenate([self.lengths, other.lengths]))

    def _reserve(self, batch: int, length: int) -> None:
        """Make room for texts of a length in each row."""
        if length > self._room.shape[1] or batch > len(self._room):
            # Doubling keeps a long text from being copied at every token.
            time = self._room.shape[1]
            time = length + max(length, LEAST) if length > time else time
            larger = np.empty((batch, time), dtype=np.int64)
            larger[: len(self._room), : self.length] = self.texts
            self._room = larger

    def _set_lengths(self, lengths: NDArray[np.int64]) -> None:
        self.lengths: NDArray[np.int64] = lengths
        if len(lengths):  # without rows, the length stays as it was
            self._shortest, self.length = int(lengths.min()), int(lengths.max())
        self.is_equal: bool = self._shortest == self.length

    def _move_ends(self, count: int) -> None:
        self.lengths = self.lengths + count  # a new array: the caller may hold the old one
        self._shortest, self.length = self._shortest + count, self.length + count

    def _checked(self, tokens: ArrayLike) -> NDArray[Any]:
        ids = np.asarray(tokens)
        if ids.ndim == 1:
            ids = ids[:, None]
        batch = len(self._room)
        if ids.ndim != 2 or len(ids) != batch:
            raise UsageError(f"tokens must be ({batch},) or ({batch}, time), not {ids.shape}")
        if ids.size and ids.dtype.kind not in "iu":
            raise UsageError(f"tokens must be whole numbers, not {ids.dtype}")
        flat = ids.ravel().tolist()  # for one or two tokens faster than NumPy
        if flat and not 0 <= min(flat) <= max(flat) < self._size:
            wrong = next(id for id in flat if not 0 <= id < self._size)
            raise UsageError(f"there is no token {wrong}; the ids are 0 to {self._size - 1}")
        return ids
