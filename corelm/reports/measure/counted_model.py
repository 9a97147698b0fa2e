"""A model that counts its calls and the tokens that it reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import (
    Array,
    HiddenStateSession,
    LanguageModel,
    RewindableSession,
    Session,
    Vocabulary,
)


class CountedModel:
    """A language model that counts what it does.

    Args:
        model: the model.
        prompt_length: the number of tokens of the prompt, which counts as one token each time.

    Attributes:
        calls: how often the model ran, whatever the batch.
        tokens_read: the tokens that it read, of all texts together.

    Example:
        >>> from corelm.testing import ToyModel
        >>> model = CountedModel(ToyModel(), prompt_length=2)
        >>> session = model.start([[11, 4]])
        >>> session.select([0, 0])
        >>> session.extend(np.array([9, 7]))
        >>> model.calls, model.tokens_read
        (2, 3)
    """

    def __init__(self, model: LanguageModel, prompt_length: int) -> None:
        self._model = model
        self.vocabulary: Vocabulary = model.vocabulary
        self.context_length: int = model.context_length
        self._prompt_length = prompt_length
        self.calls = self.tokens_read = 0

    def __getattr__(self, name: str) -> Any:
        # A model may have optional methods, which decoders look for.
        return getattr(self._model, name)

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return the distribution of the model."""
        self._count_texts(np.asarray(tokens))
        return self._model.next_token_distribution(tokens)

    def start(self, tokens: ArrayLike) -> Session:
        """Start a session of the model that counts too."""
        self._count_texts(np.asarray(tokens))
        session = self._model.start(tokens)
        # Decoders test what a session can do, so the counted one can do that and no more.
        kind = KINDS[
            isinstance(session, RewindableSession), isinstance(session, HiddenStateSession)
        ]
        return kind(session, self)

    def _count_texts(self, tokens: NDArray[Any]) -> None:
        texts, time = tokens.shape
        self.calls += 1
        self.tokens_read += texts * max(time - self._prompt_length, 1)


class CountedSession:
    """A session whose steps a model counts.

    Args:
        session: the model's own session.
        counts: the model that counts.
    """

    def __init__(self, session: Any, counts: CountedModel) -> None:
        self._session, self._counts = session, counts

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row."""
        logits: Array = self._session.next_logits()
        return logits

    def extend(self, tokens: NDArray[Any]) -> None:
        """Append tokens, and count them."""
        self._counts.calls += 1
        self._counts.tokens_read += tokens.size
        self._session.extend(tokens)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        self._session.select(rows)


class _Rewindable(CountedSession):
    """A counted session that can drop tokens."""

    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last tokens."""
        logits: Array = self._session.last_logits(count)
        return logits

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self._session.rewind(count)


class _HiddenStates(CountedSession):
    """A counted session with access to hidden states."""

    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at each of the last tokens."""
        states: Array = self._session.hidden_states(count)
        return states


class _RewindableHiddenStates(_Rewindable, _HiddenStates):
    """A counted session with both."""


KINDS = {
    (False, False): CountedSession,
    (True, False): _Rewindable,
    (False, True): _HiddenStates,
    (True, True): _RewindableHiddenStates,
}
"""The class of a session by what the model's can do: rewind, and return hidden states."""
