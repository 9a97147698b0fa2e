"""Draw the tokens of several requests with equal chains in one call.

A chain of corelm's own samplers that reads nothing but the logits treats each row by itself, to the
last bit. So the rows of all requests with such a chain are drawn together, whatever their lengths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from corelm.decoding.draws import DrawPlan
from corelm.errors import CorelmError
from corelm.generation.generate import Texts
from corelm.generation.open_texts import OpenTexts, RowFigures
from corelm.generation.request_rows import RequestRows
from corelm.generation.shared_session import SessionView, SharedSession, neighbours
from corelm.language_model import Vocabulary
from corelm.numerics.distributions import Array
from corelm.sampling import Sampler

MOST_PLANS = 64
"""The number of plans that a batch keeps."""


class JointDraws:
    """Draws for the requests that share a session.

    As long as no row comes, ends or slides, the rows are steady: the session gets the tokens of all
    as soon as they are drawn, before each request takes its own. It may draw several tokens ahead.

    Args:
        shared: the session.
        vocabulary: the model's vocabulary.
        context_length: the model's, if windows that slide leave the session.
    """

    def __init__(
        self, shared: SharedSession, vocabulary: Vocabulary, context_length: int | None
    ) -> None:
        self._shared, self._context_length = shared, context_length
        self._vocabulary, self._ends = vocabulary, frozenset(vocabulary.ends)
        # By the key of the chain, the oldest first: making a plan takes as long as many tokens.
        self._plans: dict[str, DrawPlan] = {}
        # The steady requests, as `draw` got them, which together have all rows of the session;
        # empty while none are. The next four fields belong to them: `_begin` sets all five.
        self._rows: list[RequestRows] = []
        # Each with its rows, in the order of the session's.
        self._parts: list[tuple[RequestRows, slice]] = []
        # The tokens that are appended before a request ends by its length, or slides: from 0 on.
        self._left = 0
        # (tokens, rows) numbers of their next tokens; `draw` drops those that it used.
        self._uniforms = np.empty((0, 0))
        self._measured = False
        # The tokens after the last ones that the session has drawn, if it got the last ones.
        self._ready = 0

    @property
    def are_ready(self) -> bool:
        """True if the session has drawn the next tokens, so that `draw` need not wait."""
        return self._ready > 0

    def rows_of(
        self, texts: Texts, open_texts: OpenTexts, view: SessionView, ids: Sequence[int]
    ) -> RequestRows:
        """Return the rows of a request.

        Args:
            texts: the request.
            open_texts: its texts.
            view: a session that has read the prompt, in one row.
            ids: the prompt.
        """
        sampler = texts.strategy.sampler
        # A text, whose hash Python keeps: a sampler's is computed from its fields each time.
        key = f"{sampler} {texts.unknown}" if _treats_rows_alone(sampler) else ""
        plan = self._plans.get(key) or DrawPlan(sampler, self._vocabulary, texts.unknown)
        if key and key not in self._plans:
            if len(self._plans) >= MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = plan
        return RequestRows(key, plan, self._vocabulary, texts, open_texts, view, ids)

    def draw(self, rows: list[RequestRows], *, are_all: bool, more: bool) -> bool:
        """Draw the next tokens of requests; return True if the session has them already.

        Args:
            rows: the growing requests in the session.
            are_all: there are no others in it.
            more: False if others wait to join it.
        """
        if rows and are_all and (rows == self._rows or self._begin(rows)):
            try:
                return self._draw_steady(more)
            except CorelmError:  # each then draws alone, and fails by itself
                pass
        self._rows = []
        self._shared.compute()
        self.draw_apart([each for each in rows if each.view and each.view.own is None])
        return False

    def expect(self, rows: list[RequestRows]) -> None:
        """Prepare the draws of requests, whose last tokens are appended next.

        Args:
            rows: the requests, which are all in the session.
        """
        if rows and self._begin(rows):
            self._shared.expect(rows[0].plan, self._next_uniforms(), self._measured)

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
            logits = _logits_of(self._shared, views)
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
        is_whole = len(views) == len(rows) and neighbours(views) == (0, self._shared.size)
        left = min(each.steps_left(self._context_length) for each in rows)
        keys = {each.key for each in rows}
        if not is_whole or left < 1 or len(keys) > 1 or "" in keys:
            return False
        self._parts = [*zip(ordered, _parts(views), strict=True)]
        self._rows, self._left, self._uniforms = rows, left, np.empty((0, self._shared.size))
        self._measured = any(each.measured for each in rows)
        return True

    def _draw_steady(self, more: bool) -> bool:
        first, uniforms = self._rows[0], self._next_uniforms()
        drawn = self._shared.draw(
            first.plan, uniforms[: None if more else 1], first.context, self._measured
        )
        figures = RowFigures(drawn)
        all_grow = self._ends.isdisjoint(figures.tokens)
        ready = drawn.ready or 0
        is_appended = bool(all_grow and self._left and (more or ready))
        if is_appended:
            self._shared.extend(drawn.tokens)
        self._left, self._uniforms = self._left - 1, uniforms[1:]
        self._ready = ready if is_appended else 0
        if self._left < 0 or not all_grow:
            self._rows = []
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


def _logits_of(shared: SharedSession, views: Sequence[SessionView]) -> Array:
    """Return the logits of the rows of these views, without a copy if the views are adjacent."""
    if views[0].own is None and (span := neighbours(views)):
        return shared.logits(*span)
    if len(views) == 1:
        return views[0].next_logits()
    return np.concatenate([view.next_logits() for view in views])
