"""A language model that counts its calls and the tokens that it reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import Array, LanguageModel, Session, Vocabulary


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
        self._prompt_length = prompt_length
        self.calls = self.tokens_read = 0

    def __getattr__(self, name: str) -> Any:
        # A model may have optional methods, which decoders look for.
        return getattr(self._model, name)

    @property
    def vocabulary(self) -> Vocabulary:
        """That of the model."""
        return self._model.vocabulary

    @property
    def context_length(self) -> int:
        """That of the model."""
        return self._model.context_length

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return the distribution of the model."""
        self._count_texts(np.asarray(tokens))
        return self._model.next_token_distribution(tokens)

    def start(self, tokens: ArrayLike) -> Session:
        """Start a session of the model that counts too."""
        self._count_texts(np.asarray(tokens))
        session = self._model.start(tokens)

        def extend(more: NDArray[Any]) -> None:
            self.calls += 1
            self.tokens_read += more.size
            session.extend(more)

        # Decoders test which methods a session has, so the copy has those and no others.
        names = [name for name in dir(session) if not name.startswith("_")]
        methods = {name: getattr(session, name) for name in names if name != "extend"}
        return cast(Session, SimpleNamespace(**methods, extend=extend))

    def _count_texts(self, tokens: NDArray[Any]) -> None:
        texts, time = tokens.shape
        self.calls += 1
        self.tokens_read += texts * max(time - self._prompt_length, 1)
