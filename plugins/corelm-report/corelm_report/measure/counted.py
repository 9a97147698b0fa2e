"""Models and sessions that count the calls and the tokens that are read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import Array, LanguageModel, Session, Vocabulary
from corelm.abilities import SessionWrapper


class CountedModel:
    """A language model that counts its calls and the tokens that it reads.

    Args:
        model: the model.
        prompt_length: the number of tokens of the prompt, which together count as one token.

    Attributes:
        calls: the number of the model's calls, which doesn't depend on the batch.
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
        # A model may have optional methods, which decoders look for; they are not counted.
        return getattr(self._model, name)

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return the distribution of the model."""
        self._count_texts(np.asarray(tokens))
        return self._model.next_token_distribution(tokens)

    def start(self, tokens: ArrayLike) -> Session:
        """Start a session of the model that counts too."""
        self._count_texts(np.asarray(tokens))
        return CountedSession(self._model.start(tokens), self)

    def _count_texts(self, tokens: NDArray[Any]) -> None:
        texts, time = tokens.shape
        self.calls += 1
        self.tokens_read += texts * max(time - self._prompt_length, 1)


class CountedSession(SessionWrapper):
    """A session whose steps a model counts.

    Args:
        session: the model's own session.
        counts: the model that counts.
    """

    def __init__(self, session: Session, counts: CountedModel) -> None:
        super().__init__(session)
        self._counts = counts

    def extend(self, tokens: NDArray[Any]) -> None:
        """Append tokens, and count them."""
        self._counts.calls += 1
        self._counts.tokens_read += tokens.size
        super().extend(tokens)
