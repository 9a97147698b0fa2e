"""Draw the tokens of several requests with equal chains in one call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from corelm.decoding.step import Drawn
from corelm.errors import CorelmError
from corelm.generation.drawn_rows import DrawnRows, DrawnStep
from corelm.generation.shared_session import SessionView, SharedSession, neighbours
from corelm.native.ahead import Draws
from corelm.numerics.distributions import Array


def draw_together(shared: SharedSession, rows: Sequence[DrawnRows]) -> None:
    """Draw the tokens of requests with equal chains in one call for each chain.

    Where one fails, its requests draw alone later, and fail by themselves.

    Args:
        shared: the session of all views, whose logits are computed.
        rows: requests whose views have all joined it, or whose own sessions are all read.
    """
    groups: defaultdict[str, list[DrawnRows]] = defaultdict(list)
    for each in rows:
        groups[each.key].append(each)
    for group in groups.values():
        group.sort(key=_place)
        views = [each.view for each in group if each.view is not None]
        logits = _logits_of(shared, views)
        uniforms = np.concatenate([each.uniforms()[:, 0] for each in group])
        measured = any(each.measured for each in group)
        try:
            drawn = group[0].draw(logits, uniforms, measured)
        except CorelmError:
            continue
        end = 0
        for each, view in zip(group, views, strict=True):
            first, end = end, end + view.size
            each.take(drawn, slice(first, end))


class JointDraws:
    """Draws for the requests that share a session.

    As long as no row comes, ends or slides, the model begins its next step as soon as the tokens
    are drawn, before each row takes its own; it may go on to draw several.

    Args:
        shared: the session.
        context_length: the model's, if windows that slide leave the session.
    """

    def __init__(self, shared: SharedSession, context_length: int | None) -> None:
        self._shared, self._context_length = shared, context_length
        self._rows: list[DrawnRows] = []  # that stay as they are
        self._left = 0  # for how many steps, unless a token ends a text
        self._parts: list[tuple[DrawnRows, slice]] = []  # in the order of the session's rows
        self._uniforms = np.empty((0, 0))  # (tokens, rows) of their next tokens
        self._measured = False

    def draw(self, rows: list[DrawnRows], *, are_all: bool, more: bool) -> bool:
        """Draw the next tokens of requests; return True if the session has them already.

        Args:
            rows: the growing requests in the session.
            are_all: there are no others in it.
            more: False if others wait to join it.
        """
        found = self._draw_steady(rows, more) if rows and are_all else None
        if found is None:
            self._rows = []
            self._shared.compute()
            inside = [each for each in rows if each.view and each.view.own is None]
            draw_together(self._shared, inside)
            return False
        drawn, is_appended = found
        self._left, self._uniforms = self._left - 1, self._uniforms[1:]
        if self._left < 0 or not drawn.all_grow:
            self._rows = []
        for each, part in self._parts:
            each.take(drawn, part, is_appended=is_appended)
        return is_appended

    def next_draws(self, rows: list[DrawnRows]) -> Draws | None:
        """Return how to draw the next tokens of requests, which are all in the session.

        Args:
            rows: the requests, whose last tokens are being appended.
        """
        return self._draws_after(0) if rows and self._begin(rows) else None

    def _draw_steady(self, rows: list[DrawnRows], more: bool) -> tuple[DrawnStep, bool] | None:
        """Draw for rows that stay as they are; return whether the session has the tokens, too.

        None where it can't.
        """
        if rows == self._rows and (taken := self._shared.drawn_ahead(more)):
            drawn, is_appended = rows[0].drawn_step(Drawn.of(taken)), taken.goes_on
        elif more and (rows == self._rows or self._begin(rows)):
            try:
                drawn, is_appended = self._draw_now(), False
            except CorelmError:  # each then draws alone, and fails by itself
                return None
        else:
            return None
        if more and self._left and drawn.all_grow and not is_appended:
            self._shared.extend(drawn.of(slice(None)), partial(self._draws_after, 1))
            is_appended = True
        return drawn, is_appended

    def _draw_now(self) -> DrawnStep:
        logits, numbers = self._shared.logits(0, self._shared.size), self._numbers()
        return self._rows[0].draw(logits, numbers[0], self._measured)

    def _draws_after(self, after: int) -> Draws | None:
        """Return how to draw the next tokens, but the first `after`, which the session gets now."""
        return self._rows[0].draws(self._numbers(after), self._measured)

    def _begin(self, rows: list[DrawnRows]) -> bool:
        """Prepare for the steps in which these rows stay as they are; False if there are none."""
        ordered = sorted(rows, key=_place)
        views = [each.view for each in ordered if each.view]
        is_whole = len(views) == len(rows) and neighbours(views) == (0, self._shared.size)
        self._left = min(each.steps_left(self._context_length) for each in rows)
        if not is_whole or self._left < 1 or any(each.key != rows[0].key for each in rows):
            return False
        ends = accumulate(view.size for view in views)
        parts = zip(ordered, views, ends, strict=True)
        self._parts = [(each, slice(end - view.size, end)) for each, view, end in parts]
        self._rows, self._uniforms = rows, np.empty((0, self._shared.size))
        self._measured = any(each.measured for each in rows)
        return True

    def _numbers(self, after: int = 0) -> NDArray[np.float64]:
        """Return the random numbers of the next tokens, but the first `after`: (tokens, rows)."""
        if len(self._uniforms) <= after:
            most = self._left + 1 - after  # the last token isn't appended
            numbers = [each.uniforms(most, after) for each, _ in self._parts]
            tokens = min(each.shape[1] for each in numbers)
            more = np.concatenate([each[:, :tokens] for each in numbers]).T.copy()
            self._uniforms = np.concatenate([self._uniforms, more])
        return self._uniforms[after:]


def _place(rows: DrawnRows) -> int:
    return rows.view.place_of() if rows.view is not None else 0


def _logits_of(shared: SharedSession, views: Sequence[SessionView]) -> Array:
    """Return the logits of the rows of these views, without a copy if the views are adjacent."""
    if views[0].own is None and (span := neighbours(views)):
        return shared.logits(*span)
    if len(views) == 1:
        return views[0].next_logits()
    return np.concatenate([view.next_logits() for view in views])
