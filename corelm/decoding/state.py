"""A decoding task and its state: a session, a context and samples, all advanced together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.abilities import can
from corelm.abilities.optional import draw_next
from corelm.contracts.context import Context, ContextBuilder, read_only
from corelm.contracts.language_model import LanguageModel, Session, is_end
from corelm.contracts.sampling import Sampler
from corelm.contracts.step import Drawn, NextLogits, Step, model_surprisals
from corelm.contracts.validation import check_result
from corelm.decoding.draws import DrawPlan, RandomStream
from corelm.errors import CorelmError, PluginError, UsageError
from corelm.numerics.distributions import Array, surprisals
from corelm.text.printable import shown

Ids = NDArray[np.int64]
Nats = NDArray[np.float64]


@dataclass(frozen=True)
class DecodingTask:
    """The input of a decoder.

    Attributes:
        model: the language model.
        prompt: (time,) token ids that every sample begins with.
        sampler: the sampler or chain.
        random_stream: the uniform numbers, one for each sample and position; its length is the
            number of samples.
        length: the largest number of tokens to draw for each sample.
        unknown: allow [UNK] to be sampled.
        measured: the entropies of each step will be read, so they are computed with the draw, which
            takes less time than later.
    """

    model: LanguageModel
    prompt: NDArray[np.int64]
    sampler: Sampler
    random_stream: RandomStream
    length: int
    unknown: bool = False
    measured: bool = False

    def start(self, context: Context | None = None, samples: Ids | None = None) -> Decoding:
        """Read the prompt once, fork it for every sample, and return the decoding state.

        Args:
            context: texts of one length to continue instead, with their surprisals, such as an
                earlier context cut off. The model reads them in one pass.
            samples: (batch,) the sample of the run that each of these texts belongs to; by default
                the samples of `random_stream`.
        """
        return Decoding(self, context, samples)

    def with_samples(self, samples: Sequence[int]) -> DecodingTask:
        """Return the same task for other samples of the run.

        Args:
            samples: indices; each decides the random numbers of one text, with the seed.
        """
        return replace(self, random_stream=self.random_stream.with_samples(samples))

    def replay(self, texts: Sequence[Sequence[int]]) -> Iterator[Step]:
        """Yield the steps of texts whose tokens are known.

        For decoders that search before they yield a step.

        Args:
            texts: the token ids of each sample; none for a sample without a text.
        """
        length = max(map(len, texts), default=0)
        if length == 0:
            return
        text_of = dict(zip(self.random_stream.samples, texts, strict=True))
        decoding = self.start()
        for position in range(length):
            # The texts differ in length: a row is dropped when its text has ended.
            decoding.select(np.array([position < len(text_of[s]) for s in decoding.samples]))
            tokens = np.array([text_of[s][position] for s in decoding.samples])
            decoding.next()  # the distributions that the step reports
            step = decoding.step(tokens)
            if position + 1 < length:
                decoding.advance(tokens)
            yield step

    def __bool__(self) -> bool:
        """True if there is a token to draw."""
        return self.length > 0 and len(self.random_stream) > 0


def steps_in_order(
    decode: Callable[[DecodingTask], object], task: DecodingTask, name: Callable[[], str]
) -> Iterator[Step]:
    """Yield the steps of a decoder: one for each position, with fewer rows each.

    Args:
        decode: the decoder; a plugin's may return anything.
        task: the decoder's input.
        name: returns the decoder and its plugin, for an error.

    Raises:
        PluginError: a step that is not the next one, which would put a token in a wrong place.
    """
    steps = decode(task)
    if not isinstance(steps, Iterable):
        raise PluginError(f"{name()} returned {shown(steps)}; write `yield step` in __call__")
    rows, ends = set(task.random_stream.samples), set(task.model.vocabulary.ends)
    # The samples of the last step, if they can't change and none of them ended.
    steady: Ids | None = None
    for position, step in enumerate(steps):
        if not isinstance(step, Step):
            raise PluginError(f"{name()} yielded {shown(step)}; yield a `corelm.Step`")
        if step.position != position or position >= task.length:
            raise PluginError(
                f"{name()} yielded a step of position {step.position} where {position} of "
                f"{task.length} is next: yield one step for each position, in order, and call "
                "`decoding.advance()` after each"
            )
        if step.samples is not steady:
            samples = step.samples.tolist()
            if len(set(samples)) < len(samples) or not rows.issuperset(samples):
                raise PluginError(
                    f"{name()} yielded the samples {samples} at step {position}: each sample "
                    "that has not ended has one row; `decoding.select` drops and reorders rows"
                )
            rows, steady = set(samples), None if step.samples.flags.writeable else step.samples
        tokens = step.tokens.tolist()
        if not ends.isdisjoint(tokens):
            pairs = zip(samples, tokens, strict=False)
            rows, steady = {sample for sample, token in pairs if token not in ends}, None
        yield step


class Decoding:
    """The state that a decoder moves forward.

    `DecodingTask.start` returns one, with the prompt read once and forked for every sample. `next`
    and `draw` compute the next distribution; `advance` appends one token to each row, and `rewind`
    drops the last ones; `select` drops, reorders or forks rows. Session, context and samples always
    refer to the same rows.

    Args:
        task: what is decoded; its `start` returns the state.
        context: as for `DecodingTask.start`.
        samples: as for `DecodingTask.start`.

    Attributes:
        session: the model's session.
        samples: (batch,) the sample of the run that each row belongs to.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> model, greedy = ToyModel(), corelm.sampler("greedy")
        >>> prompt, stream = np.array([11]), corelm.RandomStream(1, [0])
        >>> decoding = corelm.DecodingTask(model, prompt, greedy, stream, length=5).start()
        >>> step = decoding.draw()
        >>> decoding.advance(step.tokens)
        >>> model.vocabulary.decode(decoding.context.tokens[0])
        'the cat'
    """

    def __init__(
        self, task: DecodingTask, context: Context | None = None, samples: Ids | None = None
    ) -> None:
        self._model, self._vocabulary = task.model, task.model.vocabulary
        self._sampler, self._random_stream = task.sampler, task.random_stream
        if context is None:
            batch = len(task.random_stream)
            # One pass over the prompt for a batch of any size: forks share the cache or copy it.
            self.session: Session = _started(task.model, task.prompt)
            self.session.select(np.zeros(batch, dtype=np.int64))
            self._builder = ContextBuilder(task.prompt, batch, task.length, self._vocabulary)
        else:
            self.session = task.model.start(context.tokens.copy())
            self._builder = ContextBuilder.of(context)
        rows = task.random_stream.samples if samples is None else samples
        self.samples: Ids = read_only(np.array(rows, dtype=np.int64))
        self._plan = DrawPlan(task.sampler, self._vocabulary, task.unknown)
        self._measured, self._length = task.measured, task.length
        # (tokens, batch) random numbers of `samples`, from the position `_first` on; empty for new
        # samples.
        self._uniforms, self._first = np.empty((0, 0)), 0
        self._last: NextLogits | Drawn | None = None  # of next or draw
        self._rows: Ids | None = None  # the rows of `_last` selected since; None for all
        self._drawn: tuple[Ids, Nats] | None = None  # the tokens of the last step, surprisals

    @property
    def context(self) -> Context:
        """The tokens so far, and their surprisals."""
        return self._builder.context

    def next(self, scores: Array | None = None) -> NextLogits:
        """Return the next-token distribution of each row, before and after the sampler.

        Args:
            scores: (batch, vocabulary) raw logits of the model; the session's by default.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
            SamplerError: the sampler raised, or its result is not a distribution.
        """
        context = self.context  # built first, while the session may still work in the background
        distributions = self._plan.next(self.model_logits(scores), context)
        self._last, self._rows, self._drawn = distributions, None, None
        if distributions.logits is not distributions.model_logits:
            check_result(self._sampler._last_stage, distributions.logits, context)
        return distributions

    def draw(self, scores: Array | None = None) -> Step:
        """Draw one token for each row with the random number of its sample.

        Args:
            scores: as for `next`.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
            SamplerError: the sampler raised, its result is not a distribution, or the token drawn
                is one that the model rules out.
        """
        uniforms, draw = self._next_uniforms(), (lambda: self._builder.context, self._measured)
        drawn = (
            draw_next(self.session, self._plan, uniforms, *draw)
            if scores is None
            else self._plan.draw(np.array(scores), uniforms[0], *draw)
        )
        self._last, self._rows = drawn, None
        self._drawn = read_only(drawn.tokens), read_only(drawn.surprisal)
        return drawn.step(self._builder.position, self.samples)

    def _next_uniforms(self) -> NDArray[np.float64]:
        """Return the random numbers of the next tokens, at least one: (tokens, batch)."""
        position = self._builder.position
        at = position - self._first
        if not 0 <= at < len(self._uniforms):
            # By sample, not by row: a row that is dropped does not shift the others' numbers.
            numbers = self._random_stream.following(position, self.samples)
            left = max(self._length - position, 1)
            self._uniforms = np.ascontiguousarray(numbers[:, :left].T)
            self._first, at = position, 0
        return self._uniforms[at:]

    def step(self, tokens: Ids) -> Step:
        """Return the step that takes these tokens from the last distributions.

        Args:
            tokens: (batch,) ids.

        Raises:
            UsageError: neither `next` nor `draw` was called before.
        """
        if self._last is None:
            raise UsageError("ask for the next distributions first, with next() or draw()")
        last, surprisal = self._last, self._surprisal_of(tokens)
        self._drawn = tokens, surprisal
        if self._rows is not None:
            all_rows = last.model_logits, last.logits, last.allowed, last.fell_back
            last = NextLogits(*all_rows).select(self._rows)
        return Step(
            self._builder.position, self.samples, tokens, last.model_logits, last.logits, surprisal,
            last.allowed, last.fell_back,
        )  # fmt: skip

    def advance(self, tokens: Ids | None = None, *, is_read: bool = False) -> None:
        """Append one token to each row.

        A decoder advances before it yields the step, so that a session can work meanwhile.

        Args:
            tokens: (batch,) ids; by default the tokens of the last step.
            is_read: the session has read the tokens already, as with guesses that were right.
        """
        if tokens is None:
            if self._drawn is None:
                raise UsageError("no tokens were drawn; pass the tokens to append")
            tokens = self._drawn[0]
        if not is_read:
            # First, for a session may begin at once in the background. A copy: a model of another
            # package may write into it, and the step has the tokens.
            self.session.extend(np.array(tokens))
        drawn = self._drawn
        # The draw has already computed these surprisals.
        if drawn is not None and (tokens is drawn[0] or np.array_equal(tokens, drawn[0])):
            surprisal = drawn[1]
        else:
            surprisal = self._surprisal_of(tokens)
        model = None
        if self._plan.reads_model_surprisal and self._last is not None:
            model = model_surprisals(self._selected(self._last.model_logits), tokens)
        self._builder.append(tokens, surprisal, model)
        self._forget()

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row.

        A session that can't drop tokens is replaced by a new one, which reads the others again.

        Raises:
            UsageError: more tokens than were drawn.
        """
        self._builder.rewind(count)
        if can(self.session, "rewind"):
            self.session.rewind(count)
        else:
            self.session = self._model.start(self.context.tokens.copy())
        self._forget()

    def select(self, rows: NDArray[Any]) -> None:
        """Keep these rows in this order; a row named twice is forked.

        Args:
            rows: (batch,) indices, or a mask of the rows to keep.
        """
        rows = np.asarray(rows)
        if rows.dtype == bool:
            if np.count_nonzero(rows) == len(rows):  # as at most steps: no cache is copied
                return
            rows = np.flatnonzero(rows)
        elif len(rows) == len(self.samples) and np.array_equal(rows, np.arange(len(rows))):
            return
        self.session.select(rows)
        self._builder.select(rows)
        self.samples = read_only(self.samples[rows])
        self._uniforms = np.empty((0, 0))
        # Composing indices is cheap; copying the logits would not be, and few decoders need them.
        self._rows = rows if self._rows is None else self._rows[rows]
        if self._drawn is not None:
            self._drawn = self._drawn[0][rows], self._drawn[1][rows]

    def is_end(self, tokens: Ids) -> NDArray[np.bool_]:
        """Return True for each token that ends a text."""
        return is_end(tokens, self._vocabulary)

    def model_logits(self, scores: Array | None = None) -> Array:
        """Return the model's logits, validated, with tokens that are never drawn masked.

        Args:
            scores: as for `next`.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
        """
        raw = self.session.next_logits() if scores is None else np.array(scores)
        return self._plan.prepare(raw, self._builder.position, len(self.samples))

    def _forget(self) -> None:
        self._last = self._rows = self._drawn = None

    def _surprisal_of(self, tokens: Ids) -> Nats:
        """Return the surprisal of tokens under the last logits of the sampler; nan without any."""
        if self._last is None:
            return np.full(len(tokens), np.nan)
        return surprisals(self._selected(self._last.logits), tokens)

    def _selected(self, logits: Array) -> Array:
        return logits if self._rows is None else logits[self._rows]


def _started(model: LanguageModel, prompt: Ids) -> Session:
    """Return the session of a prompt.

    Raises:
        UsageError: an empty prompt, which the model can't continue.
    """
    ids = prompt[None, :].copy()
    if len(prompt):
        return model.start(ids)
    try:
        session = model.start(ids)
        session.next_logits()  # some models look for the last token only here
    except CorelmError:
        raise
    except Exception as error:  # a model of another package may fail in any way
        raise UsageError("the model cannot continue an empty text; give it a prompt") from error
    return session
