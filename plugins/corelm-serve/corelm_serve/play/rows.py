"""The model's logits along a text, cached while the user changes a sampler's parameters."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile

import numpy as np

from corelm import Array, LanguageModel, Session, surprisals
from corelm.runs import ExplainedStage, ModelLogits
from corelm_serve.scoring import read_block

MEMORY = 2**27
"""The most bytes of logits cached for a model."""
TEXTS = 64
"""The most texts with cached surprisals."""
EXPLAINED = 8
"""The most distributions cached with their probabilities."""
BLOCK = 64
"""The most tokens in one pass, so that another request waits for one block at most."""

Ids = tuple[int, ...]


class RowCache:
    """A cache of a model's logits along the latest texts. One request at a time runs the model.

    Args:
        model: the language model.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model, self._lock = model, threading.RLock()
        self._rows: OrderedDict[Ids, Array] = OrderedDict()
        self._most = max(2 * BLOCK, MEMORY // (4 * len(model.vocabulary)))
        # For each text: the first place, and the logits from there on.
        self._nats: OrderedDict[tuple[Ids, int], list[float]] = OrderedDict()
        self.explained = lru_cache(EXPLAINED)(self._explain)
        self._session: Session | None = None  # after the tokens of `_read`
        self._read: Ids = ()
        self._prepare = ModelLogits(model.vocabulary)

    def after(self, ids: Ids) -> Array:
        """Return (1, vocabulary): the logits after a text, as a decoder gets them."""
        return self._block(ids, len(ids))[-1]

    def _explain(self, ids: Ids) -> ExplainedStage:
        """Return the distribution after a text."""
        return ExplainedStage(None, self.after(ids)[0])

    def along(self, ids: Ids, first: int) -> Iterator[Array]:
        """Yield (1, vocabulary): the logits before each token of a text, from token `first` on.

        Args:
            ids: the ids of the text.
            first: the place of the first token.
        """
        for start in range(first, len(ids), BLOCK):
            yield from self._block(ids[: min(start + BLOCK, len(ids)) - 1], start)

    def surprisals(self, ids: Ids, first: int) -> list[float]:
        """Return the surprisals, under the model, of a text's tokens from `first` on, in nats."""
        with self._lock:
            alike, text = max(
                ((_common(ids, text), text) for text, start in self._nats if start == first),
                default=(first, ()),
            )
            nats = self._nats[text, first][: alike - first] if alike > first else []
            at = first + len(nats)
            for token, row in zip(ids[at:], self.along(ids, at), strict=True):
                nats.append(float(surprisals(row, np.array([token]))[0]))
            self._nats[ids, first] = nats
            if len(self._nats) > TEXTS:
                self._nats.popitem(last=False)
            return list(nats)

    def _block(self, ids: Ids, start: int) -> list[Array]:
        """Return the logits after the first `start` tokens of a text, and after each next token."""
        with self._lock:
            rows = [self._rows.get(ids[:end]) for end in range(start, len(ids) + 1)]
            if any(row is None for row in rows):
                session, rest = self._after(ids[:start]), np.array(ids[start:], dtype=np.int64)
                raw = [session.next_logits()[0], *(read_block(session, rest) if len(rest) else ())]
                self._read = ids
                rows = [self._keep(ids[:end], row) for end, row in enumerate(raw, start)]
            return [row for row in rows if row is not None]

    def _after(self, ids: Ids) -> Session:
        """Return a session that has read a text; reuse the last one if the text continues it."""
        before = len(self._read)
        if self._session is not None and self._read == ids[:before] and len(ids) - before <= 1:
            if len(ids) > before:
                self._session.extend(np.array(ids[before:], dtype=np.int64))
        else:
            self._session = self._model.start(np.array([ids], dtype=np.int64))
        self._read = ids
        return self._session

    def _keep(self, ids: Ids, raw: Array) -> Array:
        row = self._prepare(np.array(raw)[None], 0)
        row.flags.writeable = False
        self._rows[ids] = row
        if len(self._rows) > self._most:
            self._rows.popitem(last=False)
        return row


def _common(one: Ids, other: Ids) -> int:
    """Return the length of the common prefix of two texts."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
