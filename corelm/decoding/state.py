"""The state of a decoding run: session, context and samples, kept in step."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from corelm.context import Context
from corelm.decoding.context_builder import ContextBuilder
from corelm.decoding.model_logits import ModelLogits
from corelm.decoding.random_stream import RandomStream
from corelm.decoding.step import Step, model_surprisals
from corelm.errors import UsageError
from corelm.language_model import LanguageModel, RewindableSession, Session, is_end
from corelm.numerics.distributions import (
    Array,
    draw_checked,
    mask_tokens,
    surprisals,
)
from corelm.sampler import Sampler
from corelm.validation import apply, invalid_result, run_stages

Ids = NDArray[np.int64]
Nats = NDArray[np.float64]
T = TypeVar("T", bound=np.generic)


class Decoding:
    """The state that a decoder moves forward.

    It starts with the prompt read once and forked for every sample. `next` or `draw` ask for the
    next distribution; `advance` appends one token to each row, and `rewind` drops the last ones;
    `select` drops, reorders or forks rows. Session, context and samples always refer to the same
    rows.

    Args:
        model: the language model.
        prompt: (time,) token ids that every sample begins with.
        sampler: the sampler or chain.
        random_stream: the uniform numbers, one for each sample and position.
        length: the number of tokens expected.
        unknown: allow [UNK] to be sampled.

    Attributes:
        session: the model's session.
        samples: (batch,) the sample of each row, an index into those of the random stream.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> model, greedy = ToyModel(), corelm.sampler("greedy")
        >>> decoding = Decoding(model, np.array([11]), greedy, RandomStream(1, [0]))
        >>> step = decoding.draw()
        >>> decoding.advance(step.tokens)
        >>> model.vocabulary.decode(decoding.context.tokens[0])
        'the cat'
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt: Ids,
        sampler: Sampler,
        random_stream: RandomStream,
        length: int = 0,
        *,
        unknown: bool = False,
    ) -> None:
        batch = len(random_stream)
        self._model = model
        self.session: Session = model.start(prompt[None, :])
        self.session.select(np.zeros(batch, dtype=np.int64))
        self.samples: Ids = _read_only(np.arange(batch))
        self._builder = ContextBuilder(prompt, batch, length, model.vocabulary)
        self._sampler, self._random_stream = sampler, random_stream
        self._vocabulary = model.vocabulary
        self._prepare = ModelLogits(model.vocabulary, unknown)
        self._reads_model_surprisal = any(
            "model_surprisal" in stage.reads for stage in sampler.active_stages
        )
        self._logits: tuple[Array, Array] | None = None  # the last distributions of next or draw
        self._rows: Ids | None = None  # rows of these that are still here; None is all
        self._drawn: tuple[Ids, Nats] | None = None  # tokens drawn from them, surprisals

    @property
    def context(self) -> Context:
        """The tokens so far, and their surprisals."""
        return self._builder.context

    def next(self, scores: Array | None = None) -> tuple[Array, Array]:
        """Return the next-token distribution of each row, before and after the sampler.

        Args:
            scores: (batch, vocabulary) raw logits of the model; the session's when left out.

        Returns:
            The model's logits, with the tokens that are never drawn at minus infinity, and the
            sampler's logits; both (batch, vocabulary).

        Raises:
            ModelOutputError: the model's logits are not a distribution.
            SamplerError: the sampler raised, or its result is not a distribution.
        """
        context = self.context  # made while the session may still be reading
        model_logits = self.model_logits(scores)
        return self._remember(model_logits, apply(self._sampler, model_logits, context))

    def draw(
        self, scores: Array | None = None, *, exclude: Sequence[int] = (), attempt: int = 0
    ) -> Step:
        """Draw one token for each row with the random number of its sample.

        Args:
            scores: as for `next`.
            exclude: ids that can't be drawn here, in any row: the sampler gets the model's logits
                without them. The step has the model's own.
            attempt: the number of times that this position was drawn before; each has random
                numbers of its own.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
            SamplerError: the sampler raised, or its result is not a distribution.
            UsageError: no token is left.
        """
        context = self.context  # made while the session may still be reading
        position = context.step
        model_logits = self.model_logits(scores)
        logits = self._reshaped(_without(model_logits, exclude, position), context)
        tokens, surprisal = self._draw_from(logits, position, attempt)
        self._remember(model_logits, logits)
        self._drawn = tokens, surprisal
        return Step(position, self.samples, tokens, model_logits, logits, surprisal)

    def advance(self, tokens: Ids | None = None) -> None:
        """Append one token to each row.

        A decoder advances before it yields the step, so that a session can work meanwhile.

        Args:
            tokens: (batch,) ids; those that were drawn when left out.
        """
        if tokens is None:
            tokens = self._drawn_tokens()
        self.append(tokens)
        self.session.extend(tokens)

    def append(self, tokens: Ids) -> None:
        """Append one token to each row of the context, but not to the session.

        For decoders whose session has read the tokens already, as guesses.
        """
        drawn = self._drawn
        # The draw has computed these surprisals; another pass over the rows would give the same.
        if drawn is not None and (tokens is drawn[0] or np.array_equal(tokens, drawn[0])):
            surprisal = drawn[1]
        else:
            surprisal = self._surprisal_of(tokens, 1)
        model = self._surprisal_of(tokens, 0) if self._reads_model_surprisal else None
        self._builder.append(tokens, surprisal, model)
        self._logits = self._rows = self._drawn = None

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row.

        A session that can't drop tokens is replaced by a new one, which reads the others again.

        Raises:
            UsageError: more tokens than were drawn.
        """
        self._builder.rewind(count)
        if isinstance(self.session, RewindableSession):
            self.session.rewind(count)
        else:
            self.session = self._model.start(self.context.tokens)
        self._logits = self._rows = self._drawn = None

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
        self.samples = _read_only(self.samples[rows])
        # Composing indices is cheap; copying the logits would not be, and few decoders need them.
        self._rows = rows if self._rows is None else self._rows[rows]
        if self._drawn is not None:
            self._drawn = self._drawn[0][rows], self._drawn[1][rows]

    def is_end(self, tokens: Ids) -> NDArray[np.bool_]:
        """Return True for each token that ends a text."""
        return is_end(tokens, self._vocabulary)

    def resume(self, context: Context, samples: Ids) -> Decoding:
        """Return a state that continues other texts, which a new session reads in one pass.

        For decoders that go back and write a part of a text again.

        Args:
            context: texts of one length and their surprisals, such as an earlier context cut off.
            samples: (batch,) the sample of each text, an index into those of the random stream.
        """
        other = copy(self)
        other.session, other.samples = self._model.start(context.tokens), samples
        other._builder = ContextBuilder.of(context)
        other._logits = other._rows = other._drawn = None
        return other

    def with_session(self, session: Session) -> Decoding:
        """Return a copy with a context of its own and another session of the same rows.

        For decoders that look ahead with a second model.
        """
        other = copy(self)
        other.session, other._builder = session, self._builder.fork()
        return other

    def model_logits(self, scores: Array | None = None) -> Array:
        """Return the model's logits, validated, with tokens that are never drawn masked.

        Args:
            scores: as for `next`.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
        """
        raw = self.session.next_logits() if scores is None else np.array(scores)
        return self._prepare(raw, self._builder.step)

    def _reshaped(self, model_logits: Array, context: Context) -> Array:
        """Return the sampler's logits, unvalidated: the draw validates them in its own pass."""
        return run_stages(self._sampler, model_logits, context)

    def _draw_from(self, logits: Array, position: int, attempt: int) -> tuple[Ids, Nats]:
        # By sample, not by row: a row that is dropped does not shift the numbers of the others.
        if attempt:
            uniforms = self._random_stream.redraw(position, attempt, self.samples)
        else:
            uniforms = self._random_stream.at(position)[self.samples]
        tokens, surprisal, valid = draw_checked(logits, uniforms)
        if not valid:
            raise invalid_result(self._sampler, logits, position)
        return _read_only(tokens), _read_only(surprisal)

    def _drawn_tokens(self) -> Ids:
        if self._drawn is None:
            raise UsageError("no tokens were drawn; pass the tokens to append")
        return self._drawn[0]

    def _remember(self, model_logits: Array, logits: Array) -> tuple[Array, Array]:
        self._logits, self._rows, self._drawn = (model_logits, logits), None, None
        return self._logits

    def _surprisal_of(self, tokens: Ids, which: int) -> Nats:
        """Return the surprisal of tokens under the last distributions; nan if there are none."""
        if self._logits is None:
            return np.full(len(tokens), np.nan)
        logits = self._logits[which]
        if self._rows is not None:
            logits = logits[self._rows]
        return surprisals(logits, tokens) if which else model_surprisals(logits, tokens)


def _read_only(array: NDArray[T]) -> NDArray[T]:
    """Protect an array that is new and nobody else's, so that a step need not make a view of it."""
    array.flags.writeable = False
    return array


def _without(logits: Array, exclude: Sequence[int], position: int) -> Array:
    """Return logits with these ids at minus infinity.

    Raises:
        UsageError: no id is left in some row.
    """
    if not len(exclude):
        return logits
    others = logits.copy()
    if not mask_tokens(others, np.array(exclude, dtype=np.int64)):
        raise UsageError(f"every token that is possible at step {position} is excluded")
    return others
