"""A prompt that is read in pieces, so that other texts get their next tokens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from corelm import Array, LanguageModel, Session


class PromptReader:
    """A model whose one session has read a prompt.

    It is the model of the texts of one prompt: its first `start` returns the session that has read
    the pieces, and later ones start new sessions.

    Args:
        model: the language model.
        ids: the ids of the prompt.
        size: the largest number of tokens in a piece.
    """

    def __init__(self, model: LanguageModel, ids: Sequence[int], size: int) -> None:
        self._model, self._size = model, size
        self._ids = np.array(ids, dtype=np.int64)
        self._session: Session | None = None
        self.vocabulary = model.vocabulary

    def read(self) -> Iterator[None]:
        """Read a piece at a time; yield after each but the last one.

        A prompt beyond the model's context is read at once: of it the model sees one window.
        """
        ids, size = self._ids, self._size
        if len(ids) <= size or len(ids) + 1 > getattr(self._model, "context_length", 0):
            return
        session = self._model.start(ids[None, :size])
        for first in range(size, len(ids), size):
            session.next_logits()  # sessions read when they are asked
            yield
            session.extend(ids[None, first : first + size])
        self._session = session

    def start(self, tokens: ArrayLike) -> Session:
        """Return a session that starts with (batch, time) ids."""
        session, self._session = self._session, None
        if session is not None and np.array_equal(np.asarray(tokens), self._ids[None]):
            return session
        return self._model.start(tokens)

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return (batch, vocabulary) probabilities after (batch, time) ids."""
        return self._model.next_token_distribution(tokens)

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the model."""
        return getattr(self._model, name)
