"""Any Keras model as a language model, run on the whole window for every token."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm import Array, Session, Vocabulary
from corelm.errors import UsageError
from corelm.interop import CachedSession, DisplayableModel
from corelm.runs import start_rows

logger: logging.Logger = logging.getLogger("corelm")

AT_ONCE = 2**24
"""The most scores in one call, so that a large batch needs no huge array."""
SAME_LENGTH, OTHER_LENGTH = 1e-4, 1e-2
"""The largest differences that count as rounding, as shares of the largest score: for inputs of one
length, and of two lengths, whose products may round differently in half precision."""

CHANGES = (
    "the scores of this model change from call to call, as with dropout, and its texts with them"
)
LOOKS_AHEAD = "the scores of this model depend on the tokens after a text; %s"
PADDED = "it takes only one length, so padding follows each text"
NOT_PADDED = "it is run on exact lengths, which is slow where each length is compiled"


class KerasLanguageModel(DisplayableModel):
    """A Keras model that maps (batch, time) ids to (batch, time, vocabulary) scores.

    Batches and texts are padded to powers of two, since backends compile a step for each shape of
    the input. In a causal model the scores at a position depend only on it and on earlier ones, so
    padding on the right changes nothing. A model that looks ahead is run on each text at its exact
    length, and once for every requested position.

    Args:
        model: the Keras model.
        vocabulary: maps text to ids and back; its end token, if any, begins every text.
        context_length: the largest number of tokens that the model sees.
        probabilities: True if the scores are probabilities, False if they are logits; None runs
            the model to find out.
        causal: True if no position looks ahead; None runs the model to find out.

    Attributes:
        default_prompt: the prompt of its file, if it has one.

    Raises:
        UsageError: a model that returns scores of the wrong shape, or a vocabulary without the
            attributes of `corelm.Vocabulary`.

    Example:
        >>> from corelm.models.word_vocabulary import WordVocabulary
        >>> class Even:  # in place of a Keras model
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
        causal: bool | None = None,
    ) -> None:
        if context_length < 1:
            raise UsageError(f"context_length must be at least 1, not {context_length}")
        for name in ("padding", "unknown", "start", "ends"):
            if not hasattr(vocabulary, name):
                none = "()" if name == "ends" else None
                raise UsageError(f"the vocabulary has no attribute {name}; {none} would say so")
        self.vocabulary = vocabulary
        self.default_prompt: str | None = None
        self._model = model
        self._fixed = _fixed_length(model)
        self.context_length: int = min(context_length, self._fixed or context_length)
        self._causal = True  # for the check below, which scores padded inputs
        self._probabilities = (
            self._returns_probabilities() if probabilities is None else probabilities
        )
        self._causal = self._is_causal() if causal is None else causal

    def start(self, tokens: ArrayLike) -> Session:
        """Start a decoding session for (batch, time) ids, or a list of ids for each row."""
        return start_rows(self._start_equal, tokens)

    def _start_equal(self, ids: NDArray[np.int64]) -> CachedSession:
        """Start a session of rows of one length."""
        return CachedSession(WindowCache(self), ids, self.vocabulary, self.context_length)

    def logits(self, window: NDArray[np.int64], count: int = 1) -> Array:
        """Return the logits after each of the last tokens of a window that fits the context.

        Args:
            window: (batch, time) ids.
            count: the number of last tokens.

        Returns:
            (batch, count, vocabulary)
        """
        if self._causal or count == 1:
            return self._logits(window, count)
        # A score is right only at the end of a text, so cut the text at each position.
        ends = range(window.shape[1] - count + 1, window.shape[1] + 1)
        return np.concatenate([self._logits(window[:, :end], 1) for end in ends], axis=1)

    def _logits(self, window: NDArray[np.int64], count: int) -> Array:
        """Return the logits after the last tokens, from one pass over the window."""
        batch, time = window.shape
        most = max(AT_ONCE // (self._length(time) * len(self.vocabulary)), 1)
        rows = 1 << (most.bit_length() - 1)  # a power of two
        scores = np.empty((batch, count, len(self.vocabulary)), dtype=np.float32)
        for i in range(0, batch, rows):
            part = window[i : i + rows]
            padded = self._scores(self._padded(part))
            scores[i : i + rows] = padded[: len(part), time - count : time]
        if not self._probabilities:
            return scores
        with np.errstate(divide="ignore"):  # the logarithm of 0 is minus infinity
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

    def _padded(self, window: NDArray[np.int64]) -> NDArray[np.int32]:
        """Pad a window with rows, and with tokens on the right, to the shape of the input."""
        batch, time = window.shape
        more, after = _power_of_two_above(batch) - batch, self._length(time) - time
        rows = np.pad(
            window, ((0, more), (0, 0)), mode="edge"
        )  # a row of padding may be masked completely
        padding = self.vocabulary.padding or 0
        return np.pad(rows, ((0, 0), (0, after)), constant_values=padding).astype(np.int32)

    def _length(self, time: int) -> int:
        """Return the length of the input for a window of this length.

        It is at least 2: Keras warns of an attention to one token.
        """
        if self._fixed:
            return self._fixed
        return min(_power_of_two_above(max(time, 2)), self.context_length) if self._causal else time

    def _returns_probabilities(self) -> bool:
        ids = np.full((1, self._length(1)), len(self.vocabulary) - 1, dtype=np.int32)
        scores = self._scores(ids)[0, 0].astype(np.float64)
        # Half precision sums to 1 within a hundredth; logits hardly ever do.
        return bool((scores >= 0).all() and abs(scores.sum() - 1) < 1e-2)

    def _is_causal(self) -> bool:
        """Return True if the scores of a text do not depend on the tokens after it."""
        # Tokens other than padding, all different if there are enough.
        size = len(self.vocabulary)
        *text, other = [max(size - i, 1) for i in range(min(4, self.context_length), 0, -1)]
        if not text:
            return True  # nothing follows in a context of one token
        texts = [np.array([[*text, last]]) for last in (self.vocabulary.padding or 0, other)]

        def scores_before(ids: NDArray[np.int64]) -> Array:
            return self._scores(self._padded(ids))[:, : len(text)]

        padded, followed = map(scores_before, texts)
        # Neither another last token nor a shorter input may change the earlier scores.
        same = _close(followed, padded, SAME_LENGTH)
        if same and not self._fixed:
            alone = self._scores(np.array([text], dtype=np.int32))
            same = _close(alone, padded, OTHER_LENGTH)
        if same:
            return True
        if _close(scores_before(texts[0]), padded, SAME_LENGTH):
            logger.warning(LOOKS_AHEAD, PADDED if self._fixed else NOT_PADDED)
        else:
            logger.warning(CHANGES)
        return False


class WindowCache:
    """The ids of a window in place of keys and values: a Keras model computes each token again."""

    def __init__(self, model: KerasLanguageModel) -> None:
        self._model = model
        self._ids = np.empty((0, 0), dtype=np.int64)

    def process(self, tokens: NDArray[np.int64], count: int) -> tuple[Array]:
        """Append tokens to the rows; return the logits at the last `count` of them."""
        self._ids = np.concatenate([self._ids, tokens], axis=1) if self._ids.size else tokens
        return (self._model.logits(self._ids, count),)

    def truncate(self, length: int) -> int:
        """Drop the tokens after the first `length` of each row."""
        self._ids = self._ids[:, :length]
        return length

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        self._ids = self._ids[rows]


def _fixed_length(model: Any) -> int | None:
    """Return the length of the input of a model that takes only one length, or None."""
    shape = getattr(model, "input_shape", None)
    # A model without a declared input has the shape of its first call, such as a trial: that shape
    # has a number of rows, and the model takes other lengths too.
    if isinstance(shape, tuple) and len(shape) == 2 and shape[0] is None:
        length: int | None = shape[1]
        return length
    return None


def _power_of_two_above(size: int) -> int:
    """Return the smallest power of two that is at least a size of 1 or more."""
    return 1 << (size - 1).bit_length()


def _close(scores: Array, expected: Array, share: float) -> bool:
    """Return True if scores differ by no more than a share of the largest."""
    finite = np.abs(expected[np.isfinite(expected)])
    return bool(np.allclose(scores, expected, rtol=0, atol=share * finite.max(initial=0)))
