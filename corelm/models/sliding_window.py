"""The part of a batch of texts that a model sees: all of a short text, a window of a long one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import Vocabulary
from corelm.errors import UsageError
from corelm.toolkit import window_start

LEAST = 64
"""The smallest number of tokens that memory is allocated for."""


class SlidingWindow:
    """A batch of equally long texts, and the part of them that a model sees.

    A text begins with the vocabulary's start token, if there is one; the window includes it.

    Args:
        tokens: (batch, time) ids, each row a text from its beginning.
        vocabulary: decides the valid ids and the start token.
        context_length: the largest number of tokens that the model sees.

    Raises:
        UsageError: no ids, ids outside the vocabulary, or an empty text without a start token.
    """

    def __init__(self, tokens: ArrayLike, vocabulary: Vocabulary, context_length: int) -> None:
        ids = np.asarray(tokens)
        if ids.ndim != 2:
            raise UsageError(f"tokens must be (batch, time) ids, not an array of shape {ids.shape}")
        self._size = len(vocabulary)
        self._context_length = context_length
        self._room: NDArray[np.int64] = np.empty(ids.shape, dtype=np.int64)
        self.length = 0
        """The number of tokens in a text, including the one that begins it."""
        if vocabulary.start is not None:
            self.extend(np.full((len(ids), 1), vocabulary.start))
        elif ids.shape[1] == 0:
            raise UsageError("this model cannot continue an empty text; give it at least one token")
        self.extend(ids)

    @property
    def texts(self) -> NDArray[np.int64]:
        """(batch, length) ids: the texts from their beginning; do not write into them."""
        return self._room[:, : self.length]

    def spans(self, count: int) -> Iterator[tuple[int, int, int]]:
        """Yield the windows in which a model sees each of the last tokens as the last one.

        Args:
            count: the number of tokens, at least 1.

        Yields:
            The start and the end of a window in the texts, and the number of tokens at its end
            that belong to the last ones.

        Raises:
            UsageError: fewer tokens than one, or more than a text has.
        """
        if not 1 <= count <= self.length:
            raise UsageError(f"there are no last {count} tokens in a text of {self.length}")
        done = self.length - count
        # A window slides only when it is full, so one pass serves all tokens up to its end.
        while done < self.length:
            start = window_start(done + 1, self._context_length)
            stop = min(start + self._context_length, self.length)
            yield start, stop, stop - done
            done = stop

    def extend(self, tokens: ArrayLike) -> None:
        """Append ids of shape (batch,) or (batch, time)."""
        ids = self._checked(tokens)
        before, self.length = self.length, self.length + ids.shape[1]
        if self.length > self._room.shape[1]:
            # Doubling keeps a long text from being copied at every token.
            larger = np.empty((len(ids), self.length + max(self.length, LEAST)), dtype=np.int64)
            larger[:, :before] = self._room[:, :before]
            self._room = larger
        self._room[:, before : self.length] = ids

    def rewind(self, count: int) -> None:
        """Drop the last tokens of each row.

        Raises:
            UsageError: as many tokens as a text has, or more; its first token stays.
        """
        if not 0 <= count < self.length:
            raise UsageError(f"a text of {self.length} tokens cannot lose its last {count}")
        self.length -= count  # the next tokens overwrite the dropped ones

    def select(self, rows: NDArray[Any]) -> None:
        """Keep these rows in this order."""
        self._room = self._room[rows]

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
