"""One session for the rows of several texts, each of which sees its own rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.abilities import can
from corelm.abilities.optional import draw_next, join_all
from corelm.abilities.sessions import SessionAbilities
from corelm.context import Context
from corelm.decoding.draws import DrawPlan
from corelm.decoding.step import Drawn
from corelm.language_model import Session
from corelm.numerics.distributions import Array


class SharedSession:
    """A session that holds the rows of all views, and runs the model once for all of them."""

    def __init__(self) -> None:
        self._session: SessionAbilities | None = None
        self._logits: Array | None = None
        self.size: int = 0
        """The number of rows."""

    def compute(self) -> None:
        """Compute the logits of all rows, if there are any, in one call."""
        if self._session is not None and self._logits is None:
            self._logits = self._session.next_logits()

    def logits(self, first: int, end: int) -> Array:
        """Return the logits of the rows of one view, (batch, vocabulary), without a copy."""
        self.compute()
        assert self._logits is not None
        return self._logits[first:end]

    def draw(
        self,
        plan: DrawPlan,
        uniforms: NDArray[np.float64],
        context: Callable[[], Context],
        measured: bool,
    ) -> Drawn:
        """Draw the next token of each row, as `corelm.abilities.sessions.draw_next` does."""
        assert self._session is not None
        self._logits = None
        return draw_next(self._session, plan, uniforms, context, measured)

    def extend(self, tokens: NDArray[np.int64]) -> None:
        """Append a token to each row, in the order of the rows: (batch,) ids."""
        assert self._session is not None
        self._logits = None
        self._session.extend(np.array(tokens))  # it may keep the array

    def expect(self, plan: DrawPlan, uniforms: NDArray[np.float64], measured: bool) -> None:
        """Say how the tokens after those of the next `advance` are drawn."""
        if self._session is not None and can(self._session, "draw"):
            self._session.expect(plan, uniforms, measured)

    def arrange(self, views: Sequence[SessionView]) -> list[SessionView]:
        """Keep only the rows of these views; return them in the order of their rows.

        A view that still has a session of its own joins the shared session. If it can't, its
        tokens are appended to its own.
        """
        self._logits = None
        inside = sorted([x for x in views if x.own is None], key=attrgetter("place"))
        if not inside or self._session is None:
            self._session = None
        elif neighbours(inside) != (0, self.size):  # a row was dropped
            inside = filled(inside)
            self._session.select(np.concatenate([view.rows for view in inside]))
        # They join before their tokens, which are then read in one step with the others'.
        new = [view for view in views if view.own is not None and can(view.own, "join")]
        if new:
            self._join([view.own for view in new])
        for view in views:
            if view.own is not None and view not in new:
                view.own.extend(np.array(view.take_tokens()))  # a session may keep or change it
        inside += new
        self.size = 0
        for view in inside:
            view.place_at(self.size)
            self.size += view.size
        return inside

    def advance(self, views: Sequence[SessionView]) -> None:
        """Append the tokens of all views, in the order of their rows."""
        if views:
            self.extend(np.concatenate([view.take_tokens() for view in views]))

    def _join(self, sessions: list[Any]) -> None:
        if self._session is None:
            self._session = join_all(sessions)
        elif can(self._session, "join_many"):
            self._session.join_many(*sessions)
        else:
            self._session.join(join_all(sessions))


class SessionView:
    """The rows of one request: in a session of its own, then in a shared one.

    Args:
        shared: the shared session.
        own: a session of one row, which has read the prompt.

    Attributes:
        own: its own session; None once it has joined the shared one.
        size: the number of its rows.
        place: the index that its first row had in the shared session before rows were selected; the
            others follow it.
    """

    def __init__(self, shared: SharedSession, own: Session) -> None:
        self._shared = shared
        self.own: Session | None = own
        self.size = 1
        self.place = 0
        # The next three belong to one step: `place_at` or `enter` ends it.
        self._selected: NDArray[np.int64] | None = None  # the rows selected in it; None for all
        self._tokens: NDArray[Any] | None = None  # to be appended to these
        self._logits: Array | None = None  # of its own session, before them

    def enter(self, session: Session) -> None:
        """Take a session of its own again, of as many rows; the view has left the shared one."""
        self.own, self.place, self._selected = session, 0, None

    def read(self) -> None:
        """Compute the logits of its own session, which raises the error of an engine here."""
        assert self.own is not None
        self._logits = self.own.next_logits()

    @property
    def is_read(self) -> bool:
        """True if `read` has computed the logits of its own session."""
        return self._logits is not None

    def next_logits(self) -> Array:
        """Return (batch, vocabulary): the logits of the next token of each row."""
        if self.own is None:
            return self._shared.logits(self.place, self.place + self.size)
        logits, self._logits = self._logits, None
        return self.own.next_logits() if logits is None else logits

    def extend(self, tokens: NDArray[Any]) -> None:
        """Keep tokens of shape (batch,), which the session takes in its next step."""
        self._tokens = tokens

    def select(self, rows: ArrayLike) -> None:
        """Keep these rows in this order; a row named twice is forked."""
        selected = np.asarray(rows, dtype=np.int64)
        if self.own is not None:
            self.own.select(selected)
            self._logits = None
        else:
            self._selected = selected
        self.size = len(selected)

    @property
    def first(self) -> int | None:
        """The index of its first row in the shared session; None if rows were selected since."""
        return self.place if self._selected is None else None

    @property
    def rows(self) -> NDArray[np.int64]:
        """(batch,) the indices of its rows in the shared session."""
        return self.place + (np.arange(self.size) if self._selected is None else self._selected)

    def place_at(self, first: int) -> None:
        """Set the index of its first row in the shared session, which it has joined."""
        self.own, self.place, self._selected = None, first, None

    def take_tokens(self) -> NDArray[Any]:
        """Return the tokens to append, and clear them."""
        tokens, self._tokens = self._tokens, None
        assert tokens is not None, "a request of the session has no token for this step"
        return tokens


def filled(views: list[SessionView]) -> list[SessionView]:
    """Return views in an order in which the last ones take the places of dropped rows.

    So one row is moved for each dropped row, and not all rows after it. Where views have several
    rows, which stay neighbours, the order stays as it is.

    Args:
        views: views in the order of their rows.
    """
    size = len(views)
    if any(view.size != 1 or view.first is None for view in views):
        return views
    by_place = {view.first: view for view in views}
    last = iter([view for view in views if view.place >= size])
    return [by_place.get(place) or next(last) for place in range(size)]


def neighbours(views: Sequence[SessionView]) -> tuple[int, int] | None:
    """Return the first row and the end of adjacent views; None if rows lie between them."""
    end = start = views[0].first
    for view in views:
        if end is None or view.first != end:
            return None
        end += view.size
    return None if start is None or end is None else (start, end)
