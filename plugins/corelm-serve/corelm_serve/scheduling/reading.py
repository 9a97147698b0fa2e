"""A prompt that is read in pieces, so that other texts get their next tokens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from corelm import LanguageModel, Session


class PromptReader:
    """A session that reads a prompt, piece by piece.

    A prompt beyond the model's context is one piece: of it the model sees one window.

    Args:
        model: the language model.
        ids: the ids of the prompt.
        size: the largest number of tokens in a piece.

    Attributes:
        session: the session; None before the first piece.
    """

    def __init__(self, model: LanguageModel, ids: Sequence[int], size: int) -> None:
        self._model = model
        text = np.array(ids, dtype=np.int64)
        context: int = getattr(model, "context_length", 0)
        self._pieces = [text]
        if size < len(text) < context:
            self._pieces = [text[at : at + size] for at in range(0, len(text), size)]
        self.session: Session | None = None

    @property
    def next(self) -> int:
        """The number of tokens in the next piece; 0 when all are read."""
        return len(self._pieces[0]) if self._pieces else 0

    def read(self) -> Iterator[None]:
        """Read a piece at a time; yield before each but the first one."""
        while self._pieces:
            piece = self._pieces.pop(0)
            if self.session is None:
                self.session = self._model.start(piece[None])
            else:
                self.session.extend(piece[None])
            if self._pieces:
                self.session.next_logits()  # sessions read when they are asked
                yield
