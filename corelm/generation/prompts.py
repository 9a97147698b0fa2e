"""Read prompts in pieces, and keep those that were read before.

A new prompt is read from the end of the longest prefix that it shares with one of them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.abilities import can
from corelm.abilities.sessions import SessionAbilities
from corelm.contracts.language_model import LanguageModel, Session

LEAST = 16
"""The shortest prefix that is reused, in tokens, unless two prompts are equal: to copy and rewind
the session of a shorter one takes as long as to read it."""

Ids = tuple[int, ...]


class PrefixCache:
    """A least-recently-used cache of sessions that have read a prompt, bounded in tokens.

    Only sessions that can be copied and rewound are kept. A text is the same to the last bit with
    and without its prefix in the cache, if the model's sessions keep the laws of `corelm.testing`.
    Several threads may use it at once.

    Args:
        tokens: the most tokens of all prompts together; 0 to keep none. A prompt of fewer than
            `LEAST` tokens counts as `LEAST`, since its session holds logits too.

    Attributes:
        tokens: the number of tokens in the cache.
        hits: the number of prompts whose beginning was in the cache.
        saved: the number of tokens that weren't read again.

    Example:
        >>> from corelm.testing import ToyModel
        >>> cache, model = PrefixCache(100), ToyModel()
        >>> prompt = model.vocabulary.encode("the cat sat on " * 8)
        >>> cache.keep(prompt, model.start([prompt]))
        >>> session, count = cache.find([*prompt, 5])
        >>> count, cache.hits, cache.saved
        (32, 1, 32)
    """

    def __init__(self, tokens: int) -> None:
        self._most = tokens
        self._lock = threading.Lock()
        # Each prompt as an array, and a session that has read it; the least recently used first.
        self._prefixes: OrderedDict[Ids, tuple[NDArray[np.int64], SessionAbilities]] = OrderedDict()
        # Plain numbers, not properties: another thread may read them while this one stores a
        # prompt.
        self.tokens: int = 0
        self.hits: int = 0
        self.saved: int = 0

    def find(self, prompt: Sequence[int]) -> tuple[Session | None, int]:
        """Return a session that has read the longest cached prefix of a prompt, and its length.

        Without a cached prefix it returns None and 0.
        """
        with self._lock:
            cached, count = self._longest(tuple(prompt))
            if not count:
                return None, 0
            self._prefixes.move_to_end(cached)
            stored = self._prefixes[cached][1]
        # Outside of the lock, which an engine that hangs would hold for good.
        session: Session = stored.fork()
        if count < len(cached):
            assert can(session, "rewind")
            session.rewind(len(cached) - count)
        self.hits += 1
        self.saved += count
        return session, count

    def keep(self, prompt: Sequence[int], session: Session) -> None:
        """Store a copy of a session of one row, which has read the whole prompt."""
        cached = tuple(prompt)
        if not cached or max(len(cached), LEAST) > self._most or cached in self._prefixes:
            return
        if not (can(session, "rewind") and can(session, "fork")):
            return
        entry = np.array(cached, dtype=np.int64), session.fork()
        with self._lock:
            self.tokens += len(cached) if self._prefixes.setdefault(cached, entry) is entry else 0
            while max(self.tokens, LEAST * len(self._prefixes)) > self._most:
                oldest, _ = self._prefixes.popitem(last=False)
                self.tokens -= len(oldest)

    def _longest(self, prompt: Ids) -> tuple[Ids, int]:
        """Return the cached prompt with the longest common prefix, and that prefix's length."""
        if prompt in self._prefixes:
            return prompt, len(prompt)
        ids = np.array(prompt, dtype=np.int64)
        lengths = {
            cached: _common(array, ids)
            for cached, (array, _) in self._prefixes.items()
            if len(cached) >= LEAST
        }
        longest = max(lengths, key=lambda cached: lengths[cached], default=())
        count = lengths.get(longest, 0)
        return (longest, count) if count >= LEAST else ((), 0)


class Prompt:
    """A prompt that is read in pieces, from the end of a prefix that was read before.

    A prompt longer than the model's context is one piece: the model sees only its last window.

    Args:
        model: the language model.
        ids: the prompt.

    Attributes:
        ids: the prompt.
        unread: the number of tokens that are not read.
        session: a session that has read the others; None before the first piece.
    """

    def __init__(self, model: LanguageModel, ids: list[int]) -> None:
        self.ids, self.unread, self._model = ids, len(ids), model
        self.session: Session | None = None

    def read(self, most: int, prefixes: PrefixCache) -> tuple[Session, int]:
        """Read a piece of at most this many tokens; return the session and their number."""
        ids, fits = self.ids, len(self.ids) < self._model.context_length
        if self.session is None and fits:
            self.session, count = prefixes.find(ids)
            self.unread -= count
        first = len(ids) - self.unread
        piece = np.array(ids[first : first + most if fits else None], dtype=np.int64)
        if self.session is None:
            self.session = self._model.start(piece[None].copy())
        elif len(piece):
            self.session.extend(piece[None].copy())
        self.unread -= len(piece)
        if self.unread:
            self.session.next_logits()  # a session may read the tokens only now
        elif fits:
            prefixes.keep(ids, self.session)
        return self.session, len(piece)


def _common(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Return the length of the common prefix of two texts."""
    count = min(len(one), len(other))
    differ = np.flatnonzero(one[:count] != other[:count])
    return int(differ[0]) if len(differ) else count
