"""The part of a batch of texts that a model sees: all of a short text, a window of a long one."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.language_model import Vocabulary, padded_rows, window_start
from corelm.errors import UsageError

LEAST = 64
"""The smallest number of tokens that memory is allocated for."""
FEW = 256
"""The number of ids from which NumPy finds the largest sooner than Python does."""


class SlidingWindow:
    """A batch of texts of any lengths, and the part of each that a model sees.

    A text begins with the vocabulary's start token, if there is one; the window includes it.

    Args:
        tokens: (batch, time) ids, or a list of ids for each row; a row is a text from its
            beginning.
        vocabulary: decides the valid ids and the start token.
        context_length: the largest number of tokens that the model sees.

    Attributes:
        length: the number of tokens in the longest text, including the one that begins it.
        is_equal: True if all texts have one length.

    Raises:
        UsageError: no ids, ids outside the vocabulary, or an empty text without a start token.
    """

    def __init__(self, tokens: ArrayLike, vocabulary: Vocabulary, context_length: int) -> None:
        ids, lengths = padded_rows(tokens)
        self._size = len(vocabulary)
        self._context_length = context_length
        self._room: NDArray[np.int64] = np.empty(ids.shape, dtype=np.int64)
        self.length: int = 0
        # All texts gain and lose tokens together, so the differences of their lengths stay.
        self._set_missing(np.zeros(len(ids), dtype=np.int64))
        if vocabulary.start is not None:
            self.extend(np.full((len(ids), 1), vocabulary.start))
        elif lengths.min(initial=ids.shape[1]) == 0:
            raise UsageError("this model cannot continue an empty text; give it at least one token")
        self.extend(ids)
        self._set_missing(ids.shape[1] - lengths)

    @property
    def texts(self) -> NDArray[np.int64]:
        """(batch, length) ids: the texts from their beginning; do not write into them.

        A text shorter than others is followed by ids that mean nothing.
        """
        return self._room[:, : self.length]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(batch,) the number of tokens in each text, including the one that begins it."""
        return self.length - self._missing

    @property
    def runs(self) -> list[slice]:
        """The rows in groups of neighbours that have one length."""
        batch = len(self._missing)
        if self.is_equal:
            return [slice(0, batch)]
        bounds = [0, *(np.flatnonzero(np.diff(self._missing)) + 1).tolist(), batch]
        return [slice(first, end) for first, end in pairwise(bounds)]

    @property
    def is_whole(self) -> bool:
        """True if the window of each text is all of it."""
        return self.length <= self._context_length

    def start(self, length: int) -> int:
        """Return the position at which the window of a text of this length begins."""
        return window_start(length, self._context_length)

    def starts(self, longest: int) -> NDArray[np.int64]:
        """Return the position in each text at which its window begins: (batch,).

        Args:
            longest: the length of the longest text, now or at another time.
        """
        if longest <= self._context_length:  # the usual case: no window slides
            return self._zeros
        starts = map(self.start, (longest - self._missing).tolist())
        return np.fromiter(starts, np.int64, len(self._missing))

    def windows(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of each text from a position on, (batch, time).

        A window shorter than others is followed by ids that mean nothing.

        Args:
            starts: (batch,) positions.
        """
        if starts is self._zeros:  # the usual case: no window slides
            return self.texts
        time = int((self.lengths - starts).max(initial=0))
        positions = starts[:, None] + np.arange(time)
        return np.take_along_axis(self._room, np.minimum(positions, self.length - 1), axis=1)

    def length_of(self, rows: slice) -> int:
        """Return the length of rows of one length, one of `runs`."""
        return self.length if self.is_equal else self.length - int(self._missing[rows.start])

    def spans(self, count: int, rows: slice = slice(0, 1)) -> Iterator[tuple[int, int, int]]:
        """Yield the windows that a model needs to give an output at each of the last tokens.

        Args:
            count: the number of tokens, at least 1.
            rows: rows of one length, one of `runs`; by default the run of the first row.

        Yields:
            The start and the end of a window in the texts, and how many of the last tokens it ends
            with.

        Raises:
            UsageError: fewer tokens than one, or more than a text has.
        """
        length = self.length_of(rows)
        if not 1 <= count <= length:
            raise UsageError(f"there are no last {count} tokens in a text of {length}")
        done = length - count
        # A window slides only when it is full, so one pass serves all tokens up to its end.
        while done < length:
            start = self.start(done + 1)
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
        elif count == 1:
            self._room[self._rows, self.lengths] = ids[:, 0]
        else:
            self._room[self._rows[:, None], self.lengths[:, None] + np.arange(count)] = ids
        self.length = before + count

    def ahead(self, count: int) -> NDArray[np.int64]:
        """Return the windows of the texts, with room for more ids until they slide.

        The texts have one length, or are whole.

        Args:
            count: the number of ids that there is room for, at most. The caller writes them.
        """
        start = self.start(self.length)
        stop = min(self.length + count, start + self._context_length)
        self._reserve(len(self._room), stop)
        return self._room[:, start:stop]

    def accept(self) -> None:
        """Append the ids that the caller of `ahead` wrote, one to each text."""
        self.length += 1

    def rewind(self, count: int) -> None:
        """Drop the last tokens of each row.

        Raises:
            UsageError: as many tokens as a text has, or more; its first token stays.
        """
        shortest = self.length - self._most_missing
        if not 0 <= count < shortest:
            raise UsageError(f"a text of {shortest} tokens cannot lose its last {count}")
        self.length -= count  # the next tokens overwrite the dropped ones

    def select(self, rows: NDArray[Any]) -> None:
        """Keep these rows in this order."""
        self._room = self._room[rows]
        self._set_missing(self._missing[rows])

    def join(self, *others: SlidingWindow) -> None:
        """Append the rows of other windows."""
        parts = [(each, each.lengths) for each in (self, *others)]
        batch, length = len(self.texts), max(each.length for each, _ in parts)
        self._reserve(sum(len(lengths) for _, lengths in parts), length)
        for other, lengths in parts[1:]:
            self._room[batch : batch + len(lengths), : other.length] = other.texts
            batch += len(lengths)
        self.length = length
        self._set_missing(length - np.concatenate([lengths for _, lengths in parts]))

    def fork(self) -> SlidingWindow:
        """Return a copy."""
        other = copy(self)
        other._room = self._room.copy()
        return other

    def _reserve(self, batch: int, length: int) -> None:
        """Allocate memory for texts of this length."""
        if length > self._room.shape[1] or batch > len(self._room):
            # Doubling keeps a long text from being copied at every token.
            time = self._room.shape[1]
            time = length + max(length, LEAST) if length > time else time
            larger = np.empty((batch, time), dtype=np.int64)
            larger[: len(self._room), : self.length] = self.texts
            self._room = larger

    def _set_missing(self, missing: NDArray[np.int64]) -> None:
        """Store by how many tokens each text is shorter than the longest one."""
        least = int(missing.min()) if len(missing) else 0
        self.length -= least  # the longest text may have been dropped
        self._missing = missing - least
        self._rows = np.arange(len(missing))
        self._zeros = np.zeros_like(missing)
        self._zeros.flags.writeable = False
        self._most_missing = int(self._missing.max(initial=0))
        self.is_equal: bool = self._most_missing == 0

    def _checked(self, tokens: ArrayLike) -> NDArray[Any]:
        ids = np.asarray(tokens)
        if ids.ndim == 1:
            ids = ids[:, None]
        batch = len(self._room)
        if ids.ndim != 2 or len(ids) != batch:
            raise UsageError(f"tokens must be ({batch},) or ({batch}, time), not {ids.shape}")
        if ids.size and ids.dtype.kind not in "iu":
            raise UsageError(f"tokens must be whole numbers, not {ids.dtype}")
        # A list is faster than NumPy for one or two tokens.
        flat = ids.ravel().tolist() if ids.size < FEW else [int(ids.min()), int(ids.max())]
        if flat and not 0 <= min(flat) <= max(flat) < self._size:
            wrong = next(id for id in ids.ravel().tolist() if not 0 <= id < self._size)
            raise UsageError(f"there is no token {wrong}; the ids are 0 to {self._size - 1}")
        return ids


Pass = tuple[int, int, int, int]
"""The start and the end of a window, the tokens at its end to process, and those asked for."""


def passes_of(
    window: SlidingWindow, count: int, cached_at: int, processed: int
) -> list[list[Pass]]:
    """Return for each run of rows the windows of `spans`, with the tokens that a cache lacks.

    Args:
        window: the window.
        count: the number of tokens, at least 1.
        cached_at: the length of the longest text when the windows in the cache began.
        processed: where the cache ends in the longest text; as far from the end of each other.
    """
    passes = []
    for rows in window.runs:
        cached, spans = _cached(window, rows, cached_at, processed), []
        for start, stop, asked in window.spans(count, rows):
            spans.append((start, stop, _unprocessed(cached, start, stop, asked), asked))
            cached = start, stop
        passes.append(spans)
    return passes


def last_pass(
    window: SlidingWindow, cached_at: int, processed: int
) -> tuple[NDArray[np.int64], int, NDArray[np.int64] | None] | None:
    """Return the windows of one pass over the last token of each row; arguments as above.

    Returns:
        (batch, time) ids, the number of tokens at their end to process, and the length of each row,
        None if all have one length. None if rows lack several, as the windows of some slid.
    """
    if window.is_equal:
        start, stop = window.start(window.length), window.length
        cached = _cached(window, slice(0, 1), cached_at, processed)
        return window.texts[:, start:stop], _unprocessed(cached, start, stop, 1), None
    starts, before = window.starts(window.length), window.starts(cached_at)
    if starts is not before and not np.array_equal(starts, before):
        return None
    return window.windows(starts), 1, window.lengths - starts


def _cached(window: SlidingWindow, rows: slice, cached_at: int, processed: int) -> tuple[int, int]:
    """Return the range of the texts that a cache covers, for rows of one length."""
    missing = window.length - window.length_of(rows)
    start = window.start(cached_at - missing)
    # After a rewind, nothing may be left of a window that began later.
    return start, max(processed - missing, start)


def cached_time(window: SlidingWindow, cached_at: int, processed: int) -> int:
    """Return the length of the longest range that a cache covers; arguments as above."""
    if window.start(cached_at) == 0:  # no window slid: a longer text has more
        return max(processed, 0)
    ranges = (_cached(window, rows, cached_at, processed) for rows in window.runs)
    return max((stop - start for start, stop in ranges), default=0)


def _unprocessed(cached: tuple[int, int], start: int, stop: int, asked: int) -> int:
    """Return how many tokens at the window's end the network still has to process."""
    # A window that slid has new positions, so all of it is processed again. The asked tokens are
    # always processed: the cache doesn't hold outputs.
    processed = cached[1] if start == cached[0] else start
    return stop - min(processed, stop - asked)
