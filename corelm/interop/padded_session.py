"""A session of rows of different lengths, on a padded key/value cache of another engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.language_model import Session, Vocabulary
from corelm.errors import UsageError
from corelm.interop.cached_session import CachedSession, KeyValueCache, LazyOutputs, Outputs, joined
from corelm.models.sliding_window import SlidingWindow

Ids = NDArray[np.int64]


class PaddedCache(KeyValueCache, Protocol):
    """A key/value cache of rows of different lengths; all end at its last position.

    Shorter rows have padding before them, which the engine masks. Methods without `lengths` are
    as in a cache of equal rows.
    """

    def process(self, tokens: Ids, count: int, lengths: Ids | None = None) -> Outputs:
        """Append tokens to the rows and return the network's outputs at the last `count` of them.

        Args:
            tokens: (batch, time) ids, at least one a row; the first of them set the batch.
            count: at least 1 and at most time.
            lengths: (batch,) tokens of each row in the cache; by default, it has no padding.
        """

    @property
    def positions(self) -> int:
        """The number of positions, padding included; 0 if it is empty."""

    def empty(self) -> PaddedCache:
        """Return an empty cache of the same model."""

    def join(self, other: PaddedCache) -> None:
        """Append the rows of another cache; neither is empty."""

    def trim(self, positions: int) -> None:
        """Keep the last `positions` of the cache; the others are padding in every row."""


class PaddedSession(LazyOutputs):
    """A joinable session of rows of different lengths that runs all rows in one pass of the engine.

    Otherwise it is like a `CachedSession`. A prompt, or a window that slid, is read in one pass
    with the others of its length.

    Args:
        cache: the engine's, empty.
        tokens: (batch, time) ids, or a list of ids for each row.
        vocabulary: decides the valid ids and the start token.
        context_length: the largest number of tokens that the engine's model attends to.
        model: identifies the model: sessions of the same object can be joined.

    Raises:
        UsageError: no ids, ids outside the vocabulary, or an empty text without a start token.
    """

    def __init__(
        self,
        cache: PaddedCache,
        tokens: ArrayLike,
        vocabulary: Vocabulary,
        context_length: int,
        model: object,
    ) -> None:
        self._cache, self._model = cache, model
        self._vocabulary, self._context_length = vocabulary, context_length
        self._window = SlidingWindow(tokens, vocabulary, context_length)
        # The cache ends at this position of the longest text, and as far from the end of every
        # other text. It begins where the windows began when the longest text had the length
        # `_cached_at`.
        self._processed = self._cached_at = 0

    def _compute(self, count: int) -> Outputs:
        window = self._window
        spans = [[*window.spans(count, rows)] for rows in window.runs]
        if any(len(of_rows) > 1 for of_rows in spans):  # the tokens belong to several windows
            return joined([self._alone(rows, count) for rows in window.runs])
        try:
            outputs = self._process(count)
        except BaseException:  # the pass may have been interrupted between two layers
            self._clear()
            raise
        self._processed = self._cached_at = window.length
        return outputs

    def _select(self, order: Ids) -> None:
        if self._cache.positions:
            self._cache.select(order)
        before = self._window.length
        self._window.select(order)
        gone = before - self._window.length  # if the longest text was dropped
        self._processed, self._cached_at = self._processed - gone, self._cached_at - gone
        if self._cache.positions:
            needed = int(self._cached_lengths().max(initial=1))
            self._cache.trim(max(needed, 1))

    def join(self, other: Session) -> None:
        """Append the rows of another session of the same model.

        Raises:
            UsageError: a session of another model, or this session itself.
        """
        if other is self or not isinstance(other, PaddedSession) or other._model is not self._model:
            raise UsageError("join takes another session of the same model")
        for session in (self, other):
            if session._cached_at != session._window.length:  # the cache may be a later window's
                session._outputs = ()
            session.last_outputs(1)
        self._cache.join(other._cache)
        self._window.join(other._window)
        self._processed = self._cached_at = self._window.length
        parts = zip(self._outputs, other._outputs, strict=True)
        self._outputs = tuple(np.concatenate([a[:, -1:], b[:, -1:]]) for a, b in parts)

    def _process(self, count: int) -> Outputs:
        """Process the tokens that aren't in the cache; return the outputs at the last `count`."""
        window = self._window
        self._truncate(window.length - count)  # process the requested tokens again
        starts, lengths = window.starts(window.length), window.lengths
        cached = self._cached_lengths()
        # A row whose window didn't slide only reads its new tokens.
        is_kept = (starts == window.starts(self._cached_at)) & (cached > 0)
        order, parts, caches = [], [], []
        if is_kept.any() and self._cache.positions:
            rows = np.flatnonzero(is_kept)
            if len(rows) < len(is_kept):
                self._cache.select(rows)
            new = window.length - self._processed
            last = lengths[rows, None] + np.arange(-new, 0)
            tokens = np.take_along_axis(window.texts[rows], last, axis=1)
            parts.append(self._cache.process(tokens, count, cached[rows]))
            order, caches = [rows], [self._cache]
        else:
            is_kept[:] = False
        sizes = lengths - starts
        # The others are read from their beginning, in a pass for each length.
        for size in np.unique(sizes[~is_kept]):
            rows = np.flatnonzero(~is_kept & (sizes == size))
            tokens = np.take_along_axis(
                window.texts[rows], starts[rows, None] + np.arange(size), axis=1
            )
            caches.append(self._cache.empty())
            parts.append(caches[-1].process(tokens, count))
            order.append(rows)
        self._cache = caches[0]
        for cache in caches[1:]:
            self._cache.join(cache)
        places = np.argsort(np.concatenate(order))  # back to the order of the texts
        if len(order) > 1:
            self._cache.select(places)
        self._cache.trim(int(sizes.max()))  # trim the padding that rows whose window slid have left
        return tuple(output[places] for output in joined(parts))

    def _alone(self, rows: slice, count: int) -> Outputs:
        """Process rows of one length with a new cache; return the outputs at their last tokens."""
        texts = self._window.texts[rows, : self._window.length_of(rows)]
        if self._vocabulary.start is not None:
            texts = texts[:, 1:]  # the session puts the start token back
        session = CachedSession(self._cache.empty(), texts, self._vocabulary, self._context_length)
        return session.last_outputs(count)

    def _cached_lengths(self) -> Ids:
        """Return the number of cached tokens of each row; below 1 if there are none."""
        missing = self._window.length - self._window.lengths
        return self._processed - missing - self._window.starts(self._cached_at)

    def _truncate(self, length: int) -> None:
        """Drop cached tokens so that at most `length` of the longest text are left."""
        if length >= self._processed:
            return
        left = self._cache.positions - (self._processed - length)
        if left > 0 and self._cache.truncate(left):
            self._processed = length
        else:
            self._clear()

    def _clear(self) -> None:
        self._cache, self._outputs = self._cache.empty(), ()
        self._processed = self._cached_at = 0
