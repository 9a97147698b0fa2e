"""Sessions and special tokens for a model without them, such as a model in ten lines.

`corelm.load` and every function that takes a model lift such a model with `lifted`. So the rest of
corelm finds `start` and the four special tokens in every model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.language_model import (
    PlainVocabulary,
    StatelessModel,
    Vocabulary,
    padded_rows,
    window_start,
)
from corelm.errors import CorelmError, ModelOutputError, UsageError
from corelm.numerics.distributions import Array
from corelm.text.printable import shown

SPECIAL = ("padding", "unknown", "start")
"""The special tokens of a vocabulary; one that is not declared is None."""


TOLERANCE = 1e-3
"""How far the probabilities of a row may be from a sum of 1, as those of half precision are."""


class LiftedModel:
    """A wrapper that adds sessions, special tokens, or both to a model without them.

    All other attributes are the model's.

    Args:
        model: the model.
    """

    def __init__(self, model: StatelessModel) -> None:
        self.unlifted = model
        self.vocabulary: Vocabulary = LiftedVocabulary(model.vocabulary)
        self.context_length = model.context_length

    def __getattr__(self, name: str) -> Any:
        if name == "unlifted":  # `copy` and `pickle` look up attributes before there are any
            raise AttributeError(name)
        return getattr(self.unlifted, name)

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return (batch, vocabulary) probabilities after (batch, time) ids."""
        return self.unlifted.next_token_distribution(tokens)

    def start(self, tokens: ArrayLike) -> Any:
        """Return the model's own session, or one that calls the hook for each token."""
        if hasattr(self.unlifted, "start"):
            session = self.unlifted.start(tokens)
            for name in ("next_logits", "extend", "select"):
                if not callable(getattr(session, name, None)):
                    raise ModelOutputError(f"start returned {shown(session)}, without {name}")
            return session
        rows, lengths = padded_rows(tokens)
        if len(set(lengths.tolist())) > 1:
            raise ValueError("the rows of this model's sessions must have one length")
        return StatelessSession(self.unlifted, rows)


class LiftedVocabulary:
    """A vocabulary with special tokens: those that it declares, and None for the others.

    It has the vocabulary's abilities.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "_vocabulary":  # `copy` and `pickle` look up attributes before there are any
            raise AttributeError(name)
        return getattr(self._vocabulary, name)

    def __init__(self, vocabulary: PlainVocabulary) -> None:
        self._vocabulary = vocabulary
        self.padding, self.unknown, self.start = (
            getattr(vocabulary, name, None) for name in SPECIAL
        )
        self.ends: Collection[int] = getattr(vocabulary, "ends", ())

    def __len__(self) -> int:
        return len(self._vocabulary)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text.

        Raises:
            UsageError: the vocabulary raised an error of any kind, as it has no ids for the text.
        """
        try:
            ids = [*map(index, self._vocabulary.encode(text))]
        except CorelmError:
            raise
        except Exception as error:  # such as the ValueError of str.index
            raise UsageError(f"the model has no tokens for {shown(text)}: {error}") from error
        if wrong := [each for each in ids if not 0 <= each < len(self)]:  # -1 of `str.find`
            raise UsageError(
                f"encode returned {wrong[0]} for {shown(text)}; ids are 0 to {len(self) - 1}"
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        text = self._vocabulary.decode(ids)
        if not isinstance(text, str):
            raise ModelOutputError(f"decode returned {shown(text)}; expected a text")
        return text


class StatelessSession:
    """A session without a cache: each token costs a call of the hook with the whole window.

    It can be rewound and forked, as it holds only tokens.

    Args:
        model: the model.
        tokens: (batch, time) ids.
    """

    def __init__(self, model: StatelessModel, tokens: NDArray[Any]) -> None:
        self._model, self._tokens = model, tokens

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): ln of the probabilities."""
        return self._logits_after(self._tokens.shape[1])

    def _logits_after(self, length: int) -> Array:
        start = window_start(length, self._model.context_length)
        # A copy: the hook may keep or change what it gets.
        window = self._tokens[:, start:length].copy()
        probabilities = np.asarray(self._model.next_token_distribution(window))
        shape = (len(self._tokens), len(self._model.vocabulary))
        if probabilities.shape != shape:
            raise ModelOutputError(
                f"next_token_distribution returned the shape {probabilities.shape} for {shape[0]} "
                f"rows and a vocabulary of {shape[1]} tokens; expected {shape}"
            )
        if not np.issubdtype(probabilities.dtype, np.floating):
            raise ModelOutputError(
                f"next_token_distribution returned {probabilities.dtype}; expected probabilities"
            )
        sums = probabilities.sum(axis=-1, dtype=np.float64)
        if not ((abs(sums - 1) <= TOLERANCE).all() and (probabilities >= 0).all()):
            row = int(abs(sums - 1).argmax())
            raise ModelOutputError(
                f"next_token_distribution returned row {row} with the sum {sums[row]:.4g}; "
                "expected probabilities of at least 0 with the sum 1: corelm.softmax(scores)"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            logits: Array = np.log(probabilities)
        return logits

    def extend(self, tokens: NDArray[Any]) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        columns = np.asarray(tokens).reshape(len(self._tokens), -1)
        self._tokens = np.concatenate([self._tokens, columns.astype(np.int64)], axis=1)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        self._tokens = self._tokens[np.asarray(rows)]

    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last `count` tokens."""
        length = self._tokens.shape[1]
        places = range(length - count + 1, length + 1)
        return np.stack([self._logits_after(place) for place in places], axis=1)

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self._tokens = self._tokens[:, : self._tokens.shape[1] - count]

    def fork(self) -> StatelessSession:
        """Return a session of the same rows, independent of this one."""
        return StatelessSession(self._model, self._tokens.copy())
