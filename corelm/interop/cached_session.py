"""A decoding session on the key/value cache of another engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.language_model import Vocabulary
from corelm.errors import UsageError
from corelm.models.sliding_window import SlidingWindow
from corelm.numerics.distributions import Array

Outputs = tuple[Array, ...]


def joined(parts: list[Outputs], axis: int = 0) -> Outputs:
    """Concatenate the outputs of several groups of rows, or of several spans of tokens."""
    return tuple(np.concatenate(outputs, axis) for outputs in zip(*parts, strict=True))


class KeyValueCache(Protocol):
    """The key/value cache of an engine, for a batch of equally long rows; empty at first."""

    def process(self, tokens: NDArray[np.int64], count: int) -> Outputs:
        """Append tokens to the rows and return the network's outputs at the last `count` of them.

        Args:
            tokens: (batch, time) ids, at least one a row; the first of them set the batch.
            count: at least 1 and at most time.

        Returns:
            The logits, (batch, count, vocabulary) in float32; and the last hidden states, (batch,
            count, width), if the engine returns them. The caller owns the arrays.
        """

    def truncate(self, length: int) -> int:
        """Drop the tokens after the first `length` of each row.

        Returns:
            The number of tokens that remain: `length`, or 0 for a cache that can only be emptied.
        """

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep these rows in this order; a row named twice is forked. The cache isn't empty."""


class LazyOutputs(ABC):
    """A base of sessions that caches the network's outputs at the last tokens of its texts.

    A subclass sets `_window`, computes the outputs in `_compute`, and drops them from its cache in
    `_truncate`.
    """

    _window: SlidingWindow
    _outputs: Outputs = ()  # at the last tokens; empty if not computed

    def last_outputs(self, count: int) -> Outputs:
        """Return the outputs of the cache's `process` at each of the last tokens.

        They belong to the session: do not write into them.

        Args:
            count: at least 1 and at most the length of the shortest text, with its start token.

        Raises:
            UsageError: a count outside these bounds.
        """
        if not self._outputs or not 1 <= count <= self._outputs[0].shape[1]:
            self._outputs = self._compute(count)
        return tuple(output[:, -count:] for output in self._outputs)

    @abstractmethod
    def _compute(self, count: int) -> Outputs:
        """Compute the outputs at each of the last tokens, without those that are cached here."""

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row.

        The array is a copy, so that forks and a second call need no pass of the engine.
        """
        return self.last_outputs(1)[0][:, 0].copy()

    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last tokens."""
        return self.last_outputs(count)[0]

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        before = self._window.length
        self._window.extend(tokens)
        if self._window.length > before:  # no tokens, no change: the outputs stay valid
            self._outputs = ()

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        self._window.rewind(count)
        self._truncate(self._window.length)
        if count and self._outputs:
            length = max(self._outputs[0].shape[1] - count, 0)
            self._outputs = tuple(output[:, :length] for output in self._outputs)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        order: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
        batch = len(self._window.texts)
        if np.array_equal(order, np.arange(batch)):
            return
        if len(order) > batch:
            # Before the fork, so that the forks share the outputs of their row.
            self.last_outputs(1)
        self._select(order)
        self._outputs = tuple(output[order] for output in self._outputs)

    @abstractmethod
    def _select(self, order: NDArray[np.int64]) -> None:
        """Keep these rows of the texts and, unless it is empty, of the cache."""

    @abstractmethod
    def _truncate(self, position: int) -> None:
        """Drop the cached tokens at and after a position of the texts."""


class CachedSession(LazyOutputs):
    """A decoding session of rows of one length, on the key/value cache of another engine.

    It keeps the texts, puts the vocabulary's start token before them, slides the window of a text
    that is longer than the context, and processes tokens only when an answer depends on them. So
    extending and rewinding cost nothing, and the engine processes each token of a window once.

    It can rewind. `corelm.runs.start_rows` makes a session of rows of different
    lengths of several of these. For an engine that returns hidden states, a subclass adds the
    method `hidden_states`: `return self.last_outputs(count)[1]`.

    Args:
        cache: the engine's, empty.
        tokens: (batch, time) ids, each row a text from its beginning.
        vocabulary: decides the valid ids and the start token.
        context_length: the largest number of tokens that the engine's model attends to.

    Raises:
        UsageError: no ids, ids outside the vocabulary, rows of different lengths, or an empty text
            without a start token.

    Example:
        >>> from corelm.testing import ToyModel
        >>> class Engine:
        ...     "A cache of an engine without attention: it only counts the tokens."
        ...     length = 0
        ...     def process(self, tokens, count):
        ...         self.length += tokens.shape[1]
        ...         return (np.eye(9, dtype=np.float32)[tokens[:, -count:]],)
        ...     def truncate(self, length):
        ...         self.length = length
        ...         return length
        ...     def select(self, rows):
        ...         pass
        >>> vocabulary = ToyModel(list("abcdef")).vocabulary
        >>> session = CachedSession(Engine(), [[3, 4]], vocabulary, context_length=100)
        >>> session.extend([5])
        >>> session.next_logits().argmax(axis=1).tolist()
        [5]
        >>> session.rewind(1)
        >>> session.next_logits().argmax(axis=1).tolist()
        [4]
    """

    def __init__(
        self,
        cache: KeyValueCache,
        tokens: ArrayLike,
        vocabulary: Vocabulary,
        context_length: int,
    ) -> None:
        self._cache = cache
        self._window = SlidingWindow(tokens, vocabulary, context_length)
        if not self._window.is_equal:
            raise UsageError("this session takes rows of one length; start others by start_rows")
        self._start = self._stop = 0  # the cache holds this range of the texts

    def _compute(self, count: int) -> Outputs:
        # The last tokens of a long text may belong to two windows; most calls need one.
        first, *others = [self._process(*span) for span in self._window.spans(count)]
        return joined([first, *others], axis=1) if others else first

    def _select(self, order: NDArray[np.int64]) -> None:
        # An empty cache has no rows yet: the next `process` sets the batch.
        if self._stop > self._start:
            self._cache.select(order)
        self._window.select(order)

    def _process(self, start: int, stop: int, count: int) -> Outputs:
        """Process the rest of a window; return the outputs at its last `count` tokens."""
        # The window slid, so every position in the cache is wrong: begin with an empty one.
        if start != self._start:
            self._truncate(self._start)
            self._start = self._stop = start
        # Tokens whose outputs are wanted are processed again, even if the cache has them.
        self._truncate(stop - count)
        try:
            outputs = self._cache.process(self._window.texts[:, self._stop : stop], count)
        except BaseException:  # the failed pass may have filled some layers only
            self._truncate(self._start, certain=False)
            raise
        self._stop = stop
        return outputs

    def _truncate(self, position: int, certain: bool = True) -> None:
        """Drop the cached tokens at and after a position of the texts.

        Args:
            position: a position of the texts.
            certain: False after a failed pass, when the cache may have other tokens than recorded.
        """
        length = max(position - self._start, 0)
        if length < self._stop - self._start or not certain:
            self._stop = self._start + self._cache.truncate(length)
