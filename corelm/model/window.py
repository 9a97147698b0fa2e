"""What a model sees of a batch of texts: all of a short one, a sliding window of a long one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.errors import UsageError
from corelm.language_model import Vocabulary, window_start


class Window:
    """The window of each row of a batch; all rows are equally long.

    A text begins with the end token of the vocabulary, where there is one; the window counts it.

    Args:
        tokens: (batch, time) ids, each row a text from its beginning.
        vocabulary: says which ids there are and whether texts have an end token.
        context_length: how many tokens the model sees at most.

    Raises:
        UsageError: no ids, ids outside the vocabulary, or an empty text without an end token.
    """

    def __init__(self, tokens: ArrayLike, vocabulary: Vocabulary, context_length: int) -> None:
        given = np.asarray(tokens)
        if given.ndim != 2:
            raise UsageError(
                f"tokens must be (batch, time) ids, not an array of shape {given.shape}"
            )
        self._size = len(vocabulary)
        self._context_length = context_length
        self._length = self._start = 0
        self.tokens: NDArray[np.int64] = np.empty((len(given), 0), dtype=np.int64)
        """(batch, time): what the model sees."""
        if vocabulary.end is not None:
            self.extend(np.full((len(given), 1), vocabulary.end))
        elif given.shape[1] == 0:
            raise UsageError("an empty text says nothing to this model; give it at least one token")
        self.extend(given)

    def extend(self, tokens: ArrayLike) -> int:
        """Append ids of shape (batch,) or (batch, time).

        Returns:
            How many tokens at the end of the window are new to the model: all of them where
            the window slid, since each then stands in another place.
        """
        ids = self._checked(tokens)
        self._length += ids.shape[1]
        start = window_start(self._length, self._context_length)
        slid, self._start = start - self._start, start
        self.tokens = np.concatenate([self.tokens, ids], axis=1)[:, slid:]
        return int(self.tokens.shape[1] if slid else ids.shape[1])

    def select(self, rows: NDArray[Any]) -> None:
        """Keep these rows in this order."""
        self.tokens = self.tokens[rows]

    def _checked(self, tokens: ArrayLike) -> NDArray[np.int64]:
        ids = np.asarray(tokens)
        ids = ids[:, None] if ids.ndim == 1 else ids
        batch = len(self.tokens)
        if ids.ndim != 2 or len(ids) != batch:
            raise UsageError(f"tokens must be ({batch},) or ({batch}, time), not {ids.shape}")
        if ids.size and ids.dtype.kind not in "iu":
            raise UsageError(f"tokens must be whole numbers, not {ids.dtype}")
        if ids.size and (ids.min() < 0 or ids.max() >= self._size):
            wrong = int(ids[(ids < 0) | (ids >= self._size)][0])
            raise UsageError(f"there is no token {wrong}; the ids are 0 to {self._size - 1}")
        return ids.astype(np.int64, copy=False)
