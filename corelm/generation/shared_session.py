"""One session for the rows of several requests, and the draws of their tokens in one call.

A chain of corelm's own samplers that reads nothing but the logits treats each row by itself, to the
last bit. So the rows of all requests with such a chain, of any length, are drawn together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.abilities import can
from corelm.abilities.optional import draw_next
from corelm.abilities.sessions import SessionAbilities
from corelm.contracts.language_model import Session, Vocabulary
from corelm.contracts.sampling import Sampler
from corelm.decoding.draws import DrawPlan
from corelm.errors import CorelmError
from corelm.generation.open_texts import RowFigures
from corelm.numerics.distributions import Array

if TYPE_CHECKING:
    from corelm.generation.batched_texts import RequestRows

MOST_PLANS = 64
"""The number of plans that a session keeps."""


class SharedSession:
    """A session that holds the rows of several requests, runs the model once for all, and draws.

    As long as no row comes, ends or slides, the rows are steady: the session gets the tokens of all
    as soon as they are drawn, before each request takes its own. It may draw several tokens ahead.

    Args:
        vocabulary: the model's vocabulary.
        context_length: the model's, if windows that slide leave the session.

    Attributes:
        size: the number of rows.
    """

    def __init__(self, vocabulary: Vocabulary, context_length: int | None) -> None:
        self.vocabulary: Vocabulary = vocabulary
        self._context_length = context_length
        self._ends = frozenset(vocabulary.ends)
        self._session: SessionAbilities | None = None  # None while it has no rows
        self._logits: Array | None = None  # of its last tokens; None if they aren't computed
        self.size: int = 0
        # By the key of the chain, the oldest first: making a plan takes as long as many tokens.
        self._plans: dict[str, DrawPlan] = {}
        # The steady requests, as `draw` got them, which together have all rows of the session;
        # empty while none are. The next four fields belong to them: `_begin` sets all five.
        self._steady: list[RequestRows] = []
        # Each with its rows, in the order of the session's.
        self._parts: list[tuple[RequestRows, slice]] = []
        # The tokens that are appended before a request ends by its length, or slides: from 0 on.
        self._left = 0
        # (tokens, rows) numbers of their next tokens; `draw` drops those that it used.
        self._uniforms = np.empty((0, 0))
        self._measured = False
        # The tokens after the last ones that the session has drawn, if it got the last ones.
        self._ready = 0

    def compute(self) -> None:
        """Compute the logits of all rows, if there are any, in one call."""
        if self._session is not None and self._logits is None:
            self._logits = self._session.next_logits()

    def logits(self, first: int, end: int) -> Array:
        """Return the logits of the rows of one view, (batch, vocabulary), without a copy."""
        self.compute()
        assert self._logits is not None
        return self._logits[first:end]

    def extend(self, tokens: NDArray[np.int64]) -> None:
        """Append a token to each row, in the order of the rows: (batch,) ids."""
        assert self._session is not None
        self._logits = None
        self._session.extend(np.array(tokens))  # it may keep the array

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

    @property
    def are_ready(self) -> bool:
        """True if the session has drawn the next tokens, so that `draw` need not wait."""
        return self._ready > 0

    def plan_of(self, sampler: Sampler, unknown: bool) -> tuple[str, DrawPlan]:
        """Return the plan of a chain, after the key of requests that are drawn together.

        The key is "" for a chain that doesn't treat each row by itself.

        Args:
            sampler: the chain.
            unknown: allow [UNK] to be sampled.
        """
        # A text, whose hash Python keeps: a sampler's is computed from its fields each time.
        key = f"{sampler} {unknown}" if _treats_rows_alone(sampler) else ""
        plan = self._plans.get(key) or DrawPlan(sampler, self.vocabulary, unknown)
        if key and key not in self._plans:
            if len(self._plans) >= MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = plan
        return key, plan

    def draw(self, rows: list[RequestRows], *, are_all: bool, more: bool) -> bool:
        """Draw the next tokens of requests; return True if the session has them already.

        Args:
            rows: the growing requests in the session.
            are_all: there are no others in it.
            more: False if others wait to join it.
        """
        if rows and are_all and (rows == self._steady or self._begin(rows)):
            try:
                return self._draw_steady(more)
            except CorelmError:  # each then draws alone, and fails by itself
                pass
        self._steady, self._ready = [], 0
        self.compute()
        self.draw_apart([each for each in rows if each.view and each.view.own is None])
        return False

    def expect(self, rows: list[RequestRows]) -> None:
        """Prepare the draws of requests, whose last tokens are appended next.

        Args:
            rows: the requests, which are all in the session.
        """
        session = self._session
        if rows and self._begin(rows) and session is not None and can(session, "draw"):
            session.expect(rows[0].plan, self._next_uniforms(), self._measured)

    def draw_apart(self, rows: Sequence[RequestRows]) -> None:
        """Draw the tokens of requests in one call for each chain.

        Where one fails, its requests draw alone later, and fail by themselves.

        Args:
            rows: requests whose views have all joined the session, whose logits are computed, or
                whose own sessions are all read. Those without a key draw alone later.
        """
        groups: defaultdict[str, list[RequestRows]] = defaultdict(list)
        for each in rows:
            if each.key:
                groups[each.key].append(each)
        for group in groups.values():
            group.sort(key=_place)
            views = [each.view for each in group if each.view is not None]
            logits = self._logits_of(views)
            uniforms = np.concatenate([each.uniforms()[:, 0] for each in group])
            measured = any(each.measured for each in group)
            try:
                drawn = group[0].plan.draw(logits, uniforms, group[0].context, measured)
            except CorelmError:
                continue
            figures = RowFigures(drawn)
            for each, part in zip(group, _parts(views), strict=True):
                each.take(figures, part)

    def _begin(self, rows: list[RequestRows]) -> bool:
        """Prepare for the steps in which these rows are steady; False if there are none."""
        ordered = sorted(rows, key=_place)
        views = [each.view for each in ordered if each.view]
        is_whole = len(views) == len(rows) and neighbours(views) == (0, self.size)
        left = min(each.steps_left(self._context_length) for each in rows)
        keys = {each.key for each in rows}
        if not is_whole or left < 1 or len(keys) > 1 or "" in keys:
            return False
        self._parts = [*zip(ordered, _parts(views), strict=True)]
        self._steady, self._left, self._uniforms = rows, left, np.empty((0, self.size))
        self._measured = any(each.measured for each in rows)
        return True

    def _draw_steady(self, more: bool) -> bool:
        first, uniforms = self._steady[0], self._next_uniforms()
        wanted = uniforms[: None if more else 1]
        assert self._session is not None
        self._logits = None
        drawn = draw_next(self._session, first.plan, wanted, first.context, self._measured)
        figures = RowFigures(drawn)
        all_grow = self._ends.isdisjoint(figures.tokens)
        ready = drawn.ready or 0
        is_appended = bool(all_grow and self._left and (more or ready))
        if is_appended:
            self.extend(drawn.tokens)
        self._left, self._uniforms = self._left - 1, uniforms[1:]
        self._ready = ready if is_appended else 0
        if self._left < 0 or not all_grow:
            self._steady = []
        for each, part in self._parts:
            each.take(figures, part, is_appended=is_appended)
        return is_appended

    def _next_uniforms(self) -> NDArray[np.float64]:
        """Return the random numbers of the next tokens, at least one: (tokens, rows)."""
        if not len(self._uniforms):
            most = self._left + 1  # the last token isn't appended
            numbers = [each.uniforms(most) for each, _ in self._parts]
            tokens = min(each.shape[1] for each in numbers)
            self._uniforms = np.concatenate([each[:, :tokens] for each in numbers]).T.copy()
        return self._uniforms

    def _logits_of(self, views: Sequence[SessionView]) -> Array:
        """Return the logits of these rows, without a copy if they are adjacent."""
        if views[0].own is None and (span := neighbours(views)):
            return self.logits(*span)
        if len(views) == 1:
            return views[0].next_logits()
        return np.concatenate([view.next_logits() for view in views])

    def _join(self, sessions: list[Any]) -> None:
        if self._session is None:
            self._session = join_all(sessions)
        elif can(self._session, "join_many"):
            self._session.join_many(*sessions)
        else:
            self._session.join(join_all(sessions))


def join_all(sessions: Sequence[Any]) -> Any:
    """Return the first of some sessions with the rows of all, which leaves the others empty.

    They are joined at once, or neighbours first: no row is copied once for each session.
    """
    first, *others = sessions
    if others and can(first, "join_many"):
        first.join_many(*others)
        return first
    while len(sessions) > 1:
        for one, other in zip(sessions[::2], sessions[1::2], strict=False):
            one.join(other)
        sessions = sessions[::2]
    return first


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
        self.size: int = 1
        self.place: int = 0
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


def _treats_rows_alone(sampler: Sampler) -> bool:
    """Return True if rows of several requests can be drawn together with a sampler.

    corelm's own samplers treat a row alike in any batch.
    """
    return all(
        not stage.reads and stage._acts_by == "call" and stage._is_built_in
        for stage in sampler.active_stages
    )


def _parts(views: Sequence[SessionView]) -> Iterator[slice]:
    """Yield the rows of each view in an array of the rows of all."""
    ends = accumulate(view.size for view in views)
    return (slice(end - view.size, end) for view, end in zip(views, ends, strict=True))


def _place(rows: RequestRows) -> int:
    return rows.view.place if rows.view is not None else 0
