"""The state of a decoding run: session, context and samples, kept in step."""

from __future__ import annotations

from copy import copy
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from corelm.abilities import can_rewind
from corelm.context import Context
from corelm.decoding.context_builder import ContextBuilder
from corelm.decoding.random_stream import RandomStream
from corelm.decoding.step import NextLogits, Step, model_surprisals
from corelm.errors import CorelmError, ModelOutputError, SamplerError, UsageError
from corelm.language_model import LanguageModel, Session, Vocabulary, is_end, never_drawn
from corelm.numerics.arrays import is_masked
from corelm.numerics.distributions import Array, draw_checked, mask_tokens, surprisals
from corelm.sampler import Sampler
from corelm.stages import Trace, check_result, has_masks, invalid_result, run_stages
from corelm.validation import check_logits

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

Ids = NDArray[np.int64]
Nats = NDArray[np.float64]
T = TypeVar("T", bound=np.generic)


class Decoding:
    """The state that a decoder moves forward.

    It starts with the prompt read once and forked for every sample. `next` and `draw` compute the
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
        samples: (batch,) the sample of the run that each row belongs to.

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
        # One pass over the prompt for a batch of any size: forks share the cache or copy it.
        self.session: Session = _started(model, prompt)
        self.session.select(np.zeros(batch, dtype=np.int64))
        self.samples: Ids = _read_only(np.array(random_stream.samples, dtype=np.int64))
        self._builder = ContextBuilder(prompt, batch, length, model.vocabulary)
        self._sampler, self._random_stream = sampler, random_stream
        self._vocabulary = model.vocabulary
        self._prepare = ModelLogits(model.vocabulary, unknown)
        # It costs a pass over the vocabulary for each token, so it is computed only if read.
        self._reads_model_surprisal = any(
            "model_surprisal" in stage.reads for stage in sampler.active_stages
        )
        self._has_masks = has_masks(sampler)
        self._last: NextLogits | None = None  # of next or draw
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
        found = self._distributions(scores)
        if found.logits is not found.model_logits:
            check_result(self._sampler, found.logits, self.context)
        return found

    def draw(self, scores: Array | None = None) -> Step:
        """Draw one token for each row with the random number of its sample.

        Args:
            scores: as for `next`.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
            SamplerError: the sampler raised, its result is not a distribution, or the token drawn
                is one that the model rules out.
        """
        position = self._builder.step
        found = self._distributions(scores)  # the draw validates the sampler's rows as a by-product
        # By sample, not by row: a row that is dropped does not shift the numbers of the others.
        uniforms = self._random_stream.at(position, self.samples)
        tokens, surprisal, valid = draw_checked(found.logits, uniforms)
        if not valid:
            raise invalid_result(self._sampler, found.logits, position)
        if found.logits is not found.model_logits:
            self._refuse_restored(tokens, found.model_logits)
        return self._drawn_step(_read_only(tokens), _read_only(surprisal))

    def step(self, tokens: Ids) -> Step:
        """Return the step in which a decoder takes these tokens from the last distributions.

        Args:
            tokens: (batch,) ids.

        Raises:
            UsageError: neither `next` nor `draw` was called before.
        """
        return self._drawn_step(tokens, self._surprisal_of(tokens))

    def _distributions(self, scores: Array | None) -> NextLogits:
        """Compute the next distributions; the caller validates the sampler's rows."""
        context = self.context  # built first, while the session may still work in the background
        model_logits = self.model_logits(scores)
        trace: Trace | None = [] if self._has_masks else None
        logits = run_stages(self._sampler, model_logits, context, trace)
        self._last = NextLogits.of(model_logits, logits, trace)
        self._rows = self._drawn = None
        return self._last

    def _refuse_restored(self, tokens: Ids, model_logits: Array) -> None:
        """Raise if a token is drawn that the model rules out, such as padding."""
        # Only the drawn tokens: looking for others would cost a pass over the vocabulary.
        for row, token in enumerate(tokens.tolist()):
            if model_logits[row, token] == -np.inf:
                raise SamplerError(
                    f"{self._sampler} restored token {token}, which is never drawn, at step "
                    f"{self._builder.step}, row {row}"
                )

    def _drawn_step(self, tokens: Ids, surprisal: Nats) -> Step:
        if self._last is None:
            raise UsageError("ask for the next distributions first, with next() or draw()")
        self._drawn = tokens, surprisal
        last = self._last if self._rows is None else self._last.select(self._rows)
        return Step(
            self._builder.step, self.samples, tokens, last.model_logits, last.logits, surprisal,
            last.allowed, last.fell_back,
        )  # fmt: skip

    def advance(self, tokens: Ids | None = None) -> None:
        """Append one token to each row.

        A decoder advances before it yields the step, so that a session can work meanwhile.

        Args:
            tokens: (batch,) ids; by default the tokens of the last step.
        """
        if tokens is None:
            tokens = self._drawn_tokens()
        self.append(tokens)
        # A copy: a model of another package may write into its input, and the step has the tokens.
        self.session.extend(np.array(tokens))

    def append(self, tokens: Ids) -> None:
        """Append one token to each row of the context, but not to the session.

        For decoders whose session has already read the tokens as guesses.
        """
        drawn = self._drawn
        # The draw has computed these surprisals; another pass over the rows would give the same.
        if drawn is not None and (tokens is drawn[0] or np.array_equal(tokens, drawn[0])):
            surprisal = drawn[1]
        else:
            surprisal = self._surprisal_of(tokens)
        model = self._model_surprisal_of(tokens) if self._reads_model_surprisal else None
        self._builder.append(tokens, surprisal, model)
        self._forget()

    def rewind(self, count: int) -> None:
        """Drop the last `count` tokens of each row.

        A session that can't drop tokens is replaced by a new one, which reads the others again.

        Raises:
            UsageError: more tokens than were drawn.
        """
        self._builder.rewind(count)
        if can_rewind(self.session):
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
            samples: (batch,) the sample of the run that each text belongs to.
        """
        other = copy(self)
        other.session, other.samples = self._model.start(context.tokens.copy()), samples
        other._builder = ContextBuilder.of(context)
        other._forget()
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
        logits = self._prepare(raw, self._builder.step)
        if len(logits) != len(self.samples):
            raise ModelOutputError(
                f"the model's logits must have {len(self.samples)} rows, one for each text, not "
                f"{len(logits)}"
            )
        return logits

    def _drawn_tokens(self) -> Ids:
        if self._drawn is None:
            raise UsageError("no tokens were drawn; pass the tokens to append")
        return self._drawn[0]

    def _forget(self) -> None:
        self._last = self._rows = self._drawn = None

    def _surprisal_of(self, tokens: Ids) -> Nats:
        """Return the surprisal of tokens under the last logits of the sampler; nan without any."""
        if self._last is None:
            return np.full(len(tokens), np.nan)
        return surprisals(self._kept(self._last.logits), tokens)

    def _model_surprisal_of(self, tokens: Ids) -> Nats:
        if self._last is None:
            return np.full(len(tokens), np.nan)
        return model_surprisals(self._kept(self._last.model_logits), tokens)

    def _kept(self, logits: Array) -> Array:
        return logits if self._rows is None else logits[self._rows]


def _read_only(array: NDArray[T]) -> NDArray[T]:
    """Make a new, unshared array read-only, so that a step needs no protecting view."""
    array.flags.writeable = False
    return array


class ModelLogits:
    """Validate a model's logits and mask the tokens that are never drawn.

    Args:
        vocabulary: the model's vocabulary.
        unknown: allow [UNK] to be sampled.
    """

    def __init__(self, vocabulary: Vocabulary, unknown: bool = False) -> None:
        self._size = len(vocabulary)
        self._never = never_drawn(vocabulary, unknown)

    def __call__(self, logits: Array, step: int) -> Array:
        """Return the logits with padding, and [UNK] unless allowed, at minus infinity.

        Args:
            logits: (batch, vocabulary), float32 or float64, of a session: the caller owns them, so
                they may be overwritten here.
            step: the number of tokens drawn so far, for messages.

        Raises:
            ModelOutputError: a different shape or dtype, or a row that is not a distribution.
        """
        if is_masked(logits):
            raise ModelOutputError(
                "the model's logits must be a plain array, not a MaskedArray; "
                "set tokens that are never drawn to minus infinity"
            )
        logits = np.asarray(logits)
        shape, dtype = logits.shape, logits.dtype
        if len(shape) != 2 or shape[1] != self._size or dtype not in FLOATS:
            raise ModelOutputError(
                f"the model's logits must be (batch, {self._size}) in float32 or float64, "
                f"not {shape} in {dtype}"
            )
        if not logits.flags.writeable:
            logits = logits.copy()
        # In place, as a session's caller may: a copy of 64 rows of 15,000 tokens takes 0.7 ms more.
        # The pass that masks validates the rows too; the slower check only names the fault.
        if not mask_tokens(logits, self._never):
            check_logits(logits, f"the model's logits at step {step}")
        return logits


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
