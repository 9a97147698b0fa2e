"""Any Keras model as a language model: it is run on the whole window for every token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.distributions import Array, softmax
from corelm.errors import UsageError
from corelm.language_model import Vocabulary
from corelm.model.window import Window

AT_ONCE = 2**24
"""Scores computed in one call at most, so that a large batch does not need a huge array."""


class KerasLanguageModel:
    """A Keras model that maps (batch, time) ids to (batch, time, vocabulary) scores.

    The model must be causal: the scores at a position depend on it and on earlier ones alone,
    since windows are padded on the right to a few fixed lengths.

    Args:
        model: the Keras model.
        vocabulary: text to ids and back; one that has an end token begins every text with it.
        context_length: how many tokens the model sees at most.
        probabilities: whether the scores are probabilities or logits; found out by running the
            model once where it is not said.

    Raises:
        UsageError: a model that returns another shape.

    Example:
        >>> from corelm.model.vocabulary import WordVocabulary
        >>> class Even:  # stands for a Keras model
        ...     def predict_on_batch(self, ids):
        ...         return np.full((*ids.shape, 4), 0.25)
        >>> words = WordVocabulary(["", "[UNK]", "good", "bad"], "words")
        >>> KerasLanguageModel(Even(), words, 10).next_token_distribution([[2]]).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(
        self,
        model: Any,
        vocabulary: Vocabulary,
        context_length: int,
        probabilities: bool | None = None,
    ) -> None:
        if context_length < 1:
            raise UsageError(f"context_length must be at least 1, not {context_length}")
        self.vocabulary = vocabulary
        self._model = model
        self._fixed = _fixed_length(model)
        self.context_length = min(context_length, self._fixed or context_length)
        self._probabilities = (
            self._finds_probabilities() if probabilities is None else probabilities
        )

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """(batch, time) ids to (batch, vocabulary) probabilities."""
        return softmax(self.start(tokens).logits)

    def start(self, tokens: ArrayLike) -> KerasSession:
        """A decoding session for (batch, time) ids."""
        return KerasSession(self, Window(tokens, self.vocabulary, self.context_length))

    def logits(self, window: NDArray[np.int64], count: int = 1) -> Array:
        """The logits after each of the last tokens of a window that fits the context.

        Args:
            window: (batch, time) ids.
            count: after how many of them.

        Returns:
            (batch, count, vocabulary)
        """
        batch, time = window.shape
        ids = np.full((batch, self._padded(time)), self.vocabulary.padding or 0, dtype=np.int32)
        ids[:, :time] = window
        rows = max(AT_ONCE // (ids.shape[1] * len(self.vocabulary)), 1)
        scores = np.empty((batch, count, len(self.vocabulary)), dtype=np.float32)
        for i in range(0, batch, rows):
            scores[i : i + rows] = self._scores(ids[i : i + rows])[:, time - count : time]
        if not self._probabilities:
            return scores
        with np.errstate(divide="ignore"):  # what is impossible becomes minus infinity
            return np.log(scores)

    def _scores(self, ids: NDArray[np.int32]) -> Array:
        scores = np.asarray(self._model.predict_on_batch(ids))
        expected = (*ids.shape, len(self.vocabulary))
        if scores.shape != expected:
            raise UsageError(
                f"the model maps ids of shape {ids.shape} to {scores.shape}, not to {expected}; "
                f"it must score each of the {len(self.vocabulary)} tokens at each position"
            )
        return scores

    def _padded(self, time: int) -> int:
        """The length of the input for a window: a power of two, or what the model insists on.

        At least 2: Keras warns of an attention to one token.
        """
        return self._fixed or min(1 << max(time - 1, 1).bit_length(), self.context_length)

    def _finds_probabilities(self) -> bool:
        ids = np.full((1, self._padded(1)), len(self.vocabulary) - 1, dtype=np.int32)
        scores = self._scores(ids)[0, 0].astype(np.float64)
        return bool((scores >= 0).all() and abs(scores.sum() - 1) < 1e-2)


class KerasSession:
    """Decoding under way: the window of each row. Scores are computed when they are asked for."""

    def __init__(self, model: KerasLanguageModel, window: Window) -> None:
        self._model = model
        self._window = window
        self._logits: Array | None = None

    @property
    def logits(self) -> Array:
        """(batch, vocabulary): the scores of the next token of each row."""
        if self._logits is None:
            self._logits = self.last_logits(1)[:, 0]
        return self._logits

    def last_logits(self, count: int) -> Array:
        """(batch, count, vocabulary): the scores after each of the last tokens."""
        texts, spans = self._window.texts, self._window.spans(count)
        parts = [self._model.logits(texts[:, start:stop], new) for start, stop, new in spans]
        return np.concatenate(parts, axis=1)

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        self._window.extend(tokens)
        self._logits = None

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self._window.rewind(count)
        self._logits = None

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        kept: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
        forks = len(kept) > len(self._window.texts)
        logits = self.logits if forks else self._logits  # what forks share is computed once
        self._window.select(kept)
        self._logits = None if logits is None else logits[kept]


def _fixed_length(model: Any) -> int | None:
    """The length of the input, for a model that takes one length only."""
    shape = getattr(model, "input_shape", None)
    return shape[1] if isinstance(shape, tuple) and len(shape) == 2 else None
