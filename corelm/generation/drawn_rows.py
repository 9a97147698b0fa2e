"""Draw the tokens of one request, or take those drawn in one call with other requests.

A chain of corelm's own samplers that reads nothing but the logits treats each row by itself, to the
last bit. So the rows of all requests with such a chain are drawn together, whatever their lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm.context import Context, read_only
from corelm.decoding.draws import DrawPlan, RandomStream
from corelm.decoding.step import Drawn, RowFigures, Step, measured_step, part_of
from corelm.generation.generate import Texts
from corelm.generation.open_texts import OpenTexts
from corelm.generation.shared_session import SessionView
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
