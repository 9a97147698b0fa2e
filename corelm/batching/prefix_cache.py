"""Prompts that were read before: a prompt that begins like one of them is read from there on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from corelm import RewindableSession, Session
from corelm.toolkit import ForkableSession

LEAST = 16
"""Tokens that a prefix has at least: to copy a shorter one takes longer than to read it."""


class PrefixCache:
    """Sessions that have read a prompt, bounded in tokens, the least recently used gone first.

    Only sessions that can be copied and rewound are kept. A text is the same to the last bit with
    and without its prefix in the cache, as far as the model's sessions keep that law.

    Args:
        tokens: tokens of all prompts together; 0 to keep none.

    Attributes:
        tokens: the number of tokens in the cache.
        hits: prompts of which a part was in the cache.
        saved: tokens that were not read again.

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
        # From the least recently used to the most recently used.
        self._sessions: OrderedDict[tuple[int, ...], ForkableSession] = OrderedDict()
        # Numbers, and no properties: another thread may read them while a prompt is kept.
        self.tokens: int = 0
        self.hits: int = 0
        self.saved: int = 0

    def find(self, prompt: Sequence[int]) -> tuple[Session | None, int]:
        """Return a session that has read the longest known prefix of a prompt, and its length.

        Without a known prefix it returns None and 0.
        """
        lengths = {known: _common(known, prompt) for known in self._sessions}
        longest = max(lengths, key=lambda known: lengths[known], default=())
        count = lengths.get(longest, 0)
        if count < LEAST:
            return None, 0
        self._sessions.move_to_end(longest)
        session: Session = self._sessions[longest].fork()
        if count < len(longest):
            assert isinstance(session, RewindableSession)
            session.rewind(len(longest) - count)
        self.hits += 1
        self.saved += count
        return session, count

    def keep(self, prompt: Sequence[int], session: Session) -> None:
        """Keep a copy of a session of one row, which has read a whole prompt."""
        known = tuple(prompt)
        if known in self._sessions or not LEAST <= len(known) <= self._most:
            return
        if isinstance(session, ForkableSession) and isinstance(session, RewindableSession):
            self._sessions[known] = session.fork()
            self.tokens += len(known)
            while self.tokens > self._most:
                oldest, _ = self._sessions.popitem(last=False)
                self.tokens -= len(oldest)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of equal tokens at the beginning of two texts."""
    count = min(len(one), len(other))
    differ = np.flatnonzero(np.array(one[:count]) != np.array(other[:count]))
    return int(differ[0]) if len(differ) else count
