"""The texts of one request of a continuous batch, from its prompt to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.context import Context, ContextBuilder, read_only
from corelm.contracts.language_model import LanguageModel, Session, window_start
from corelm.contracts.step import COLUMNS, Drawn, Step, model_surprisals
from corelm.decoding.draws import DrawPlan, RandomStream
from corelm.generation.generate import Ancestral, Texts
from corelm.generation.open_texts import OpenTexts, RowFigures
from corelm.generation.prompts import PrefixCache, Prompt
from corelm.generation.shared_session import SessionView, SharedSession
from corelm.registry.registry import registry


class BatchedTexts:
    """The texts of one request of a `ContinuousBatch`.

    Attributes:
        texts: the request.
        open_texts: the growing texts.
        is_finished: True if all its texts have ended.
        is_slow: True if its texts are searched for patterns, which may take long.
        each_step: True if `step` is read after each token.
        error: the exception that ended the texts; None without one.
        is_read: True if the whole prompt is read.
        unread: the number of tokens of the prompt that are not read.
        just_read: the number of tokens that the last call of `read` read.
        rows: its rows in the shared session; None before they join it, and for a decoder that has
            a session of its own.
    """

    def __init__(
        self, model: LanguageModel, texts: Texts, open_texts: OpenTexts, shared: SharedSession
    ) -> None:
        self.texts: Texts = texts
        self.open_texts: OpenTexts = open_texts
        self.is_finished: bool = False
        self.is_slow: bool = bool(texts.endings.stops.patterns)
        self.each_step: bool = True
        self.error: Exception | None = None
        self.is_read: bool = False
        self.rows: RequestRows | None = None
        self._model, self._shared = model, shared
        self._prompt = Prompt(model, open_texts.ids)
        self.unread: int = len(open_texts.ids)
        self.just_read: int = 0
        self._steps: Iterator[Step] = iter(())
        # The step of the last round, or what makes it: few callers read it. None without one.
        self._last: Step | Callable[[], Step] | None = None

    @property
    def step(self) -> Step | None:
        """The step of the last round; None if there was none."""
        if self._last is not None and not isinstance(self._last, Step):
            self._last = self._last()
        return self._last

    @property
    def is_drawn(self) -> bool:
        """True if its next tokens are drawn, and not taken yet."""
        return self.rows is not None and self.rows.drawn is not None

    @property
    def view(self) -> SessionView | None:
        """Its rows in the shared session; None if it has none."""
        return None if self.rows is None else self.rows.view

    def read(self, most: int, prefixes: PrefixCache) -> None:
        """Read a piece of the prompt.

        Args:
            most: the largest number of tokens.
            prefixes: prompts that were read before.
        """
        decoder = self.texts.strategy.decoder
        if decoder is not None and type(decoder) is not Ancestral:
            # With a session of its own, which may rewind.
            steps = self.texts.steps(self._model, self.open_texts.samples)
            self._steps, self.is_read = self.open_texts.take(steps), True
            self.just_read, self.unread = self.unread, 0
            return
        try:
            session, self.just_read = self._prompt.read(most, prefixes)
            self.unread = self._prompt.unread
            if not self.unread:
                self._prompt.session, self.is_read = None, True
                ids = self._prompt.ids
                self.rows = RequestRows(self.texts, self.open_texts, self._shared, session, ids)
                self.rows.read()
        except Exception as error:  # a model's own, such as for an empty prompt
            self._fail(error)

    def leave(self) -> bool:
        """Take rows whose windows slide out of the shared session; return True for such rows."""
        self.unread = self.rows.leave(self._model.context_length) if self.rows else 0
        self.is_read = not self.unread
        return not self.is_read

    def read_again(self) -> None:
        """Read the windows of the texts, which slid."""
        self._last = None
        try:
            assert self.rows is not None
            self.rows.enter(self._model)
        except Exception as error:  # an engine's own, such as too little memory
            self._fail(error)
        self.is_read, self.unread = True, 0

    def draw(self) -> None:
        """Draw the next token of each text, or take the tokens drawn in the common call."""
        self._last = None
        try:
            rows = self.rows
            self._last = rows.advance() if rows else next(self._steps, None)
        except Exception as error:  # a plugin's error: the other requests continue
            self._fail(error)
        if self._last is None or None not in self.open_texts.finish_reasons:
            self.finish()

    def finish(self) -> None:
        """End the texts as they are; their rows leave before the next step."""
        self.is_finished, self.rows = True, None
        self._prompt.session, self._steps = None, iter(())

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.finish()


class RequestRows:
    """The rows of a request, which are drawn as `Ancestral` draws them.

    Args:
        texts: the request.
        open_texts: its texts.
        shared: the session that the rows join.
        session: a session that has read the prompt, in one row.
        ids: the prompt.

    Attributes:
        key: equal for requests that are drawn together, whose chain treats each row by itself; ""
            for one whose chain reads the text, which is drawn alone.
        plan: draws their tokens.
        measured: the entropies of their tokens are kept.
        view: its rows in the shared session; None after the last token.
    """

    def __init__(
        self,
        texts: Texts,
        open_texts: OpenTexts,
        shared: SharedSession,
        session: Session,
        ids: Sequence[int],
    ) -> None:
        self.key: str
        self.plan: DrawPlan
        self.key, self.plan = shared.plan_of(texts.strategy.sampler, texts.unknown)
        vocabulary, view = shared.vocabulary, SessionView(shared, session)
        self._vocabulary, self._texts, self._open_texts = vocabulary, texts, open_texts
        self.measured: bool = open_texts.measured or open_texts.with_entropies
        self._ends = frozenset(vocabulary.ends)
        self._samples = list(open_texts.samples)  # of the rows in `view`, in their order
        self._stream = RandomStream(texts.seed, open_texts.samples, texts.prompt_index)
        self._position = 0  # of the next token to draw
        # (rows, tokens) random numbers of `_samples`, from the position `_first` on.
        self._uniforms, self._first = np.empty((len(self._samples), 0)), 0
        # The figures of the tokens that `take` got, their rows in them, position and samples, until
        # `advance` adds them to the texts.
        self.drawn: tuple[RowFigures, slice, int, list[int]] | None = None
        if len(self._samples) != 1:
            view.select(np.zeros(len(self._samples), dtype=np.int64))
        self.view: SessionView | None = view if texts.length and self._samples else None
        self._prompt = ids
        # The past of the rows in `view`; None where no stage reads it.
        self._past: ContextBuilder | None = None
        if not self.key:
            prompt = np.array(ids, dtype=np.int64)
            self._past = ContextBuilder(prompt, len(self._samples), texts.length, vocabulary)

    def read(self) -> None:
        """Compute the logits of the session's last token, if one is to be drawn."""
        if self.view is not None:
            self.view.read()

    def leave(self, context_length: int) -> int:
        """Take the rows out of the shared session if their windows slide with the last tokens.

        Args:
            context_length: the model's.

        Returns:
            The number of tokens in all of their windows; 0 if they stay.
        """
        before, start = (window_start(self._length - i, context_length) for i in (1, 0))
        if before == start or self.view is None or self.view.own is not None:
            return 0
        self.view.take_tokens()  # `enter` reads them from the texts
        return len(self._samples) * (self._length - start)

    def enter(self, model: LanguageModel) -> None:
        """Read the windows of the texts again, in a session that joins the shared one."""
        assert self.view is not None
        tokens = dict(zip(self._open_texts.samples, self._open_texts.tokens, strict=True))
        self.view.enter(model.start([[*self._prompt, *tokens[each]] for each in self._samples]))
        self.view.read()

    def uniforms(self, tokens: int = 1) -> NDArray[np.float64]:
        """Return the random numbers of the next tokens: (rows, tokens), of at least one.

        Args:
            tokens: the largest number of tokens.
        """
        if not 0 < tokens <= self._texts.length - self._position:
            left = self._texts.length - self._position
            raise AssertionError(f"a draw of {tokens} tokens for rows that have {left} left")
        if self._position - self._first >= self._uniforms.shape[1]:
            self._uniforms = self._stream.following(self._position, self._samples)
            self._first = self._position
        first = self._position - self._first
        return self._uniforms[:, first : first + tokens]

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
        return len(self._prompt) + start + self._position

    def context(self) -> Context:
        """Return the past of the rows; where no stage reads it, with zeros as its tokens."""
        if self._past is not None:
            return self._past.context
        past = np.zeros((len(self._samples), self._position), dtype=np.int64)
        return Context.of(past, vocabulary=self._vocabulary, prompt_length=0)

    def take(self, figures: RowFigures, rows: slice, *, is_appended: bool = False) -> None:
        """Take tokens, and append them, so that the model can continue before they are read.

        Args:
            figures: the tokens of these rows, and of others.
            rows: the rows of this request.
            is_appended: the session has them already.
        """
        view, tokens = self.view, figures.tokens[rows]
        if view is None or not len(tokens) == view.size == len(self._samples):
            size = None if view is None else view.size
            raise AssertionError(
                f"the draw has {len(tokens)} tokens for a request of {len(self._samples)} rows, "
                f"{size} of them in the session"
            )
        self.drawn = figures, rows, self._position, self._samples
        self._position += 1
        if is_appended:
            return
        growing = [row for row, token in enumerate(tokens) if token not in self._ends]
        if self._position == self._texts.length or not growing:
            self.view = None
            return
        ids = figures.ids(rows)
        if len(growing) < len(tokens):
            view.select(growing)
            self._samples = [self._samples[row] for row in growing]
            self._uniforms, ids = self._uniforms[growing], ids[growing]
            if self._past is not None:
                self._past.select(np.array(growing))
        view.extend(ids)

    def advance(self) -> Callable[[], Step] | None:
        """Add the next tokens to the texts; return what makes their step, or None at the end.

        An exception gets an attribute `generations`: the texts so far.
        """
        try:
            if self.drawn is None and self.view is not None:  # not with others'
                alone = self._draw_alone(self.view)
                self.take(RowFigures(alone, self._position), slice(0, len(alone.tokens)))
            drawn, self.drawn = self.drawn, None
            if drawn is None:
                return None
            figures, rows, _, samples = drawn
            step = partial(_part_of, *drawn)
            if registry().load_observers():
                registry().observe(step())
            self._open_texts.add(samples, figures.tokens[rows], figures, rows.start)
            return step
        except (Exception, KeyboardInterrupt) as error:
            self._open_texts.fail(error)
            raise

    def _draw_alone(self, view: SessionView) -> Drawn:
        uniforms = self.uniforms()[:, 0].copy()
        drawn = self.plan.draw(view.next_logits(), uniforms, self.context, self.measured)
        if self._past is not None:
            model = None
            if self.plan.reads_model_surprisal:
                model = model_surprisals(drawn.model_logits, drawn.tokens)
            self._past.append(drawn.tokens, drawn.surprisal, model)
        return drawn


def _part_of(figures: RowFigures, rows: slice, position: int, samples: Sequence[int]) -> Step:
    """Return adjacent rows as a step of another position: views of its arrays and figures.

    A server makes one for each text and token, so nothing is checked or computed again.

    Args:
        figures: of the whole step.
        rows: the rows.
        position: their position.
        samples: the sample of each row.
    """
    step = figures.step
    columns = {name: getattr(step, name) for name in COLUMNS}
    part = object.__new__(Step)
    vars(part).update(
        {name: each if each is None else each[rows] for name, each in columns.items()}
    )
    if step.logits is step.model_logits:
        vars(part)["logits"] = part.model_logits
    own = read_only(np.array(samples, dtype=np.int64))
    vars(part).update(position=position, samples=own, _whole=(step, rows))
    return part
