"""Draw the tokens of several requests with equal chains in one call.

A chain of corelm's own samplers that reads nothing but the logits treats each row by itself, to the
last bit. So the rows of all requests with such a chain are drawn together, whatever their lengths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm.context import Context, read_only
from corelm.decoding.draws import DrawPlan, RandomStream
from corelm.decoding.step import Drawn, RowFigures, Step, measured_step, part_of
from corelm.errors import CorelmError
from corelm.generation.generate import Texts
from corelm.generation.open_texts import OpenTexts
from corelm.generation.shared_session import SessionView, SharedSession, neighbours
from corelm.language_model import LanguageModel, Vocabulary, window_start
from corelm.lazy import cached_property
from corelm.native.ahead import Draws
from corelm.numerics.distributions import Array
from corelm.registry.registry import registry
from corelm.sampling import Sampler

MOST_PLANS = 64
"""The number of plans that a batch keeps."""


class DrawnStep(RowFigures):
    """Tokens of some rows, with their step and its figures, which few requests read.

    Args:
        drawn: the tokens, and the distributions that they were drawn from.
        position: of the step; the requests have their own.
        ends: tokens that end a text.

    Attributes:
        tokens: the tokens, as a list.
        all_grow: True if no token ends its text.
        is_observed: True if observers read each step.
    """

    def __init__(self, drawn: Drawn, position: int, ends: frozenset[int]) -> None:
        self._drawn, self._position, self._ends = drawn, position, ends
        self.tokens: list[int] = drawn.tokens.tolist()
        self.all_grow: bool = ends.isdisjoint(self.tokens)
        self.is_observed: bool = registry().load_observers()

    @cached_property
    def entropies(self) -> list[float]:
        """The entropy of each row's distribution that a token was drawn from, in nats."""
        found = self.step if self._drawn.figures is None else self._drawn.figures
        entropies: list[float] = found.entropy.tolist()
        return entropies

    @cached_property
    def step(self) -> Step:
        """The step of all rows."""
        drawn = self._drawn
        step = Step(
            self._position, np.arange(len(self.tokens)), drawn.tokens, drawn.model_logits,
            drawn.logits, drawn.surprisal,
        )  # fmt: skip
        return measured_step(step, drawn.figures)

    def of(self, rows: slice) -> NDArray[np.int64]:
        """Return the tokens of some rows."""
        return self._drawn.tokens[rows]

    def grows(self, rows: slice) -> NDArray[np.bool_] | None:
        """Return True for each of some tokens that doesn't end its text; None if none does."""
        tokens = self.tokens[rows]
        if self.all_grow or self._ends.isdisjoint(tokens):
            return None
        return np.array([token not in self._ends for token in tokens])


class DrawnPart(NamedTuple):
    """The rows of one request in a common step, with their position and samples."""

    drawn: DrawnStep
    rows: slice
    position: int
    samples: list[int]

    def step(self) -> Step:
        """Return the step of these rows alone."""
        samples = read_only(np.array(self.samples, dtype=np.int64))
        return part_of(self.drawn.step, self.rows, self.position, samples)


class DrawPlans:
    """The plans of a batch's chains: making one takes as long as many tokens.

    Args:
        vocabulary: the model's vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary: Vocabulary = vocabulary
        self._plans: dict[str, DrawPlan] = {}

    def of(self, sampler: Sampler, unknown: bool) -> tuple[str, DrawPlan]:
        """Return the plan of a sampler, and a key that is equal for equal samplers."""
        # A text, whose hash Python keeps: a sampler's is computed from its fields each time.
        key = f"{sampler} {unknown}"
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            plan = self._plans[key] = DrawPlan(sampler, self.vocabulary, unknown)
        return key, plan


class DrawnRows:
    """The rows of a request whose chain treats each row by itself.

    Args:
        plans: the plans of the batch.
        texts: the request.
        open_texts: its texts.
        view: a session that has read the prompt, in one row.
        ids: the prompt.

    Attributes:
        view: its rows in the shared session; None after the last token.
        key: equal for requests that are drawn together.
    """

    def __init__(
        self,
        plans: DrawPlans,
        texts: Texts,
        open_texts: OpenTexts,
        view: SessionView,
        ids: Sequence[int],
    ) -> None:
        samples = open_texts.samples
        self._texts, self._vocabulary, self._open_texts = texts, plans.vocabulary, open_texts
        self._ends = frozenset(plans.vocabulary.ends)
        self._samples = list(samples)
        self._stream = RandomStream(texts.seed, samples, texts.prompt_index)
        self._position = 0
        self._uniforms, self._first = np.empty((len(samples), 0)), 0  # from a position on
        self._drawn: DrawnPart | None = None
        if len(samples) != 1:
            view.select(np.zeros(len(samples), dtype=np.int64))
        self.view: SessionView | None = view
        self.key, self._plan = plans.of(texts.strategy.sampler, texts.unknown)
        self._beginning = ids
        self._slid: list[list[int]] = []  # the texts while they are out of the shared session

    @classmethod
    def of(
        cls,
        plans: DrawPlans,
        texts: Texts,
        open_texts: OpenTexts,
        view: SessionView,
        ids: Sequence[int],
    ) -> DrawnRows | None:
        """Return the rows of a request; None if its chain doesn't treat each row by itself."""
        is_alone = texts.length and treats_rows_alone(texts.strategy.sampler)
        return cls(plans, texts, open_texts, view, ids) if is_alone else None

    def slides(self, context_length: int) -> bool:
        """Return True if the window of the texts slides with the tokens that were drawn last.

        Args:
            context_length: the model's.
        """
        length = self._length
        if length <= context_length or self.view is None or self.view.own is not None:
            return False
        return window_start(length - 1, context_length) < window_start(length, context_length)

    def leave(self, context_length: int) -> int:
        """Take the rows out of the shared session; return the tokens in all of their windows.

        Args:
            context_length: the model's.
        """
        assert self.view is not None
        texts = self._open_texts  # before the last step
        tokens = dict(zip(texts.samples, texts.tokens, strict=True))
        last = zip(self._samples, self.view.take_tokens().tolist(), strict=True)
        self._slid = [[*self._beginning, *tokens[sample], token] for sample, token in last]
        lengths = map(len, self._slid)
        return sum(length - window_start(length, context_length) for length in lengths)

    def enter(self, model: LanguageModel) -> None:
        """Read the windows of the texts again, in a session that joins the shared one."""
        assert self.view is not None
        self.view.enter(model.start(self._slid))
        self.view.read()

    @property
    def is_drawn(self) -> bool:
        """True if the tokens of its next step are drawn."""
        return self._drawn is not None

    def uniforms(self, tokens: int = 1, after: int = 0) -> NDArray[np.float64]:
        """Return the random numbers of the next tokens: (rows, tokens), of at least one.

        Args:
            tokens: the largest number of tokens.
            after: how many to leave out, which come before them.
        """
        first = self._position + after
        if first - self._first >= self._uniforms.shape[1]:
            self._uniforms, self._first = self._stream.following(first, self._samples), first
        return self._uniforms[:, first - self._first :][:, :tokens]

    def steps_left(self, context_length: int | None) -> int:
        """Return for how many steps the rows stay as they are, unless a token ends a text.

        Args:
            context_length: the model's, if windows that slide leave the shared session.
        """
        left = self._texts.length - self._position - 1  # the last token isn't appended
        if context_length is not None:
            left = min(left, context_length - self._length)
        return left

    @property
    def _length(self) -> int:
        start = self._vocabulary.start is not None
        return len(self._beginning) + start + self._position

    @property
    def measured(self) -> bool:
        """True if the entropies of its tokens are kept."""
        return self._open_texts.keeps_figures

    def draw(self, logits: Array, uniforms: NDArray[np.float64], measured: bool) -> DrawnStep:
        """Draw tokens for the rows of this request and of others with an equal key.

        Args:
            logits: (batch, vocabulary) the model's, which are overwritten.
            uniforms: (batch,) numbers in [0, 1).
            measured: compute the entropies of the rows.
        """
        past = np.empty((len(logits), 0), dtype=np.int64)  # no stage reads it
        context = partial(Context.of, past, vocabulary=self._vocabulary)
        return self.drawn_step(
            self._plan.draw(logits, uniforms, self._position, context, measured=measured)
        )

    def draws(self, uniforms: NDArray[np.float64], measured: bool) -> Draws | None:
        """Return how to draw several tokens of these and other rows in the background, if possible.

        Args:
            uniforms: (tokens, batch) numbers in [0, 1).
            measured: as for `draw`.
        """
        return self._plan.ahead(lambda: uniforms, uniforms.shape[1], measured)

    def drawn_step(self, drawn: Drawn) -> DrawnStep:
        """Return tokens of these and other rows as a step."""
        return DrawnStep(drawn, self._position, self._ends)

    def take(self, drawn: DrawnStep, rows: slice, *, is_appended: bool = False) -> None:
        """Append tokens to the session, so that the model can continue before the tokens are read.

        Args:
            drawn: tokens of these rows, and of others.
            rows: the rows of this request.
            is_appended: the session has them already.
        """
        assert self.view is not None
        self._drawn = DrawnPart(drawn, rows, self._position, self._samples)
        self._position += 1
        if is_appended:
            return
        tokens, grows = drawn.of(rows), drawn.grows(rows)
        if self._position == self._texts.length or (grows is not None and not grows.any()):
            self.view = None
            return
        if grows is not None:
            self.view.select(np.flatnonzero(grows))
            kept = zip(self._samples, grows.tolist(), strict=True)
            self._samples = [sample for sample, grown in kept if grown]
            self._uniforms, tokens = self._uniforms[grows], tokens[grows]
        self.view.extend(tokens)

    def advance(self) -> DrawnPart | None:
        """Add the next tokens to the texts; return these rows of their step, or None at the end.

        An exception gets an attribute `generations`: the texts so far.
        """
        try:
            if self._drawn is None and self.view is not None:  # not with others'
                uniforms = self.uniforms()[:, 0]
                drawn = self.draw(self.view.next_logits(), uniforms, self.measured)
                self.take(drawn, slice(0, len(uniforms)))
            part, self._drawn = self._drawn, None
            if part is not None:
                drawn, rows = part.drawn, part.rows
                if drawn.is_observed:
                    registry().observe(part.step())
                self._open_texts.add(part.samples, drawn.tokens[rows], drawn, rows.start)
            return part
        except (Exception, KeyboardInterrupt) as error:
            self._open_texts.fail(error)
            raise


def treats_rows_alone(sampler: Sampler) -> bool:
    """Return True if rows of several requests can be drawn together with a sampler.

    corelm's own samplers treat a row alike in any batch.
    """
    return all(
        not stage.reads and stage._acts_by == "call" and stage._is_built_in
        for stage in sampler.active_stages
    )


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
