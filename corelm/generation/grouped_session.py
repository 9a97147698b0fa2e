"""Rows of different lengths for models whose own sessions take rows of one length."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.abilities.sessions import if_wrapped_can
from corelm.contracts.language_model import Session, padded_rows
from corelm.errors import UsageError
from corelm.numerics.distributions import Array

Ids = NDArray[np.int64]
Start = Callable[[Ids], Session]


def start_rows(start: Start, tokens: ArrayLike) -> GroupedSession:
    """Return a joinable session of rows of any lengths, made of a session for each length.

    For a model whose own sessions take rows of one length only. Each step runs one session after
    the other.

    Args:
        start: starts a session of (batch, time) ids, such as a method of the model. Sessions of
            the same function can be joined.
        tokens: (batch, time) ids, or a list of ids for each row.

    Raises:
        UsageError: neither (batch, time) ids nor a list of ids for each row.

    Example:
        >>> from corelm.testing import ToyModel
        >>> model = ToyModel(list("abcdef"))
        >>> session = start_rows(model.start, [[3, 4], [5]])
        >>> session.join(start_rows(model.start, [[6, 7, 8]]))
        >>> session.next_logits().shape
        (3, 9)
    """
    ids, lengths = padded_rows(tokens)
    order = np.argsort(lengths, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
    sessions = [start(ids[rows, : lengths[rows].max(initial=0)]) for rows in groups]
    return GroupedSession(start, sessions, [len(rows) for rows in groups], np.argsort(order))


class GroupedSession:
    """A joinable session made of sessions of rows of one length; `start_rows` returns one.

    It has the abilities of the first session, which is its `wrapped`.

    Args:
        start: the function that started the sessions.
        sessions: at least one.
        sizes: the number of rows of each.
        places: (batch,) the index of each row in the concatenated rows of all sessions.
    """

    def __init__(self, start: Start, sessions: list[Any], sizes: list[int], places: Ids) -> None:
        self.wrapped: Any = sessions[0]
        self._start, self._sessions, self._sizes, self._places = start, sessions, sizes, places

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row."""
        return self._in_order([session.next_logits() for session in self._sessions])

    def extend(self, tokens: ArrayLike) -> None:
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        ids = np.asarray(tokens)
        if ids.shape[:1] != self._places.shape:
            batch = len(self._places)
            raise UsageError(f"tokens must be ({batch},) or ({batch}, time), not {ids.shape}")
        by_session = np.split(ids[np.argsort(self._places)], np.cumsum(self._sizes)[:-1])
        for session, part in zip(self._sessions, by_session, strict=True):
            session.extend(part)

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        places = self._places[np.asarray(rows, dtype=np.int64)]
        order = np.argsort(places, kind="stable")
        firsts = np.cumsum([0, *self._sizes[:-1]])
        parts = np.split(places[order], np.searchsorted(places[order], firsts[1:]))
        # A session without rows is dropped; if none has any, the first remains.
        used = [i for i, part in enumerate(parts) if len(part)] or [0]
        for i in used:
            self._sessions[i].select(parts[i] - firsts[i])
        self._sessions = [self._sessions[i] for i in used]
        self._sizes = [len(parts[i]) for i in used]
        self._places, self.wrapped = np.argsort(order), self._sessions[0]

    def join(self, other: Session) -> None:
        """Append the rows of another session of the same model.

        Raises:
            UsageError: a session of another model, or this session itself.
        """
        if other is self or not isinstance(other, GroupedSession) or other._start != self._start:
            raise UsageError("join takes another session of the same model")
        self._places = np.concatenate([self._places, other._places + sum(self._sizes)])
        self._sessions = self._sessions + other._sessions
        self._sizes = self._sizes + other._sizes

    @if_wrapped_can
    def last_logits(self, count: int) -> Array:
        """Return (batch, count, vocabulary): the logits after each of the last tokens."""
        return self._in_order([session.last_logits(count) for session in self._sessions])

    @if_wrapped_can
    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row."""
        for session in self._sessions:
            session.rewind(count)

    @if_wrapped_can
    def fork(self) -> GroupedSession:
        """Return a copy of the session; a change to one of the two leaves the other as it is."""
        other = copy(self)
        other._sessions = [session.fork() for session in self._sessions]
        other.wrapped = other._sessions[0]
        return other

    @if_wrapped_can
    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at each of the last tokens."""
        return self._in_order([session.hidden_states(count) for session in self._sessions])

    def _in_order(self, parts: list[Array]) -> Array:
        """Join the results of all sessions, in the order of this session's rows."""
        return parts[0][self._places] if len(parts) == 1 else np.concatenate(parts)[self._places]
