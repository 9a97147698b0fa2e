"""The second contract: a decoder turns next-token distributions into texts.

`Ancestral` is the ordinary one: ask the model, let the sampler reshape, draw one token, go on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from corelm.context import Context, protect
from corelm.decoding.context_builder import ContextBuilder
from corelm.decoding.random_stream import RandomStream
from corelm.errors import ModelOutputError
from corelm.hookspecs import hookimpl
from corelm.language_model import GivingSession, LanguageModel, Session, never_drawn
from corelm.numerics.distributions import (
    Array,
    draw_checked,
    entropy_of_logits,
    mask_tokens,
    softmax,
    surprisals,
)
from corelm.params import Parameterized
from corelm.sampler import Sampler
from corelm.validation import apply, check_logits, invalid_result, run_stages


@dataclass(frozen=True, eq=False)
class Step:
    """One position of generation, for all rows that still go on. Its arrays are read-only.

    Attributes:
        position: 0 for the first token after the prompt.
        samples: (batch,) which sample each row is.
        tokens: (batch,) the ids drawn.
        model_logits: (batch, vocabulary) the model's, without the tokens that are never drawn.
        logits: (batch, vocabulary) what the sampler made of them; drawn from softmax(logits).
        surprisal: (batch,) nats, of each drawn token under the distribution drawn from.
        text: what the drawn token added to the text, where one text is streamed.
    """

    position: int
    samples: NDArray[np.int64]
    tokens: NDArray[np.int64]
    model_logits: Array
    logits: Array
    surprisal: NDArray[np.float64]
    text: str = ""

    def __post_init__(self) -> None:
        protect(self, "samples", "tokens", "model_logits", "logits", "surprisal")

    @cached_property
    def model_surprisal(self) -> NDArray[np.float64]:
        """(batch,) nats, of each drawn token under the model's own distribution."""
        return surprisals(self.model_logits, self.tokens)

    @cached_property
    def distribution(self) -> Array:
        """(batch, vocabulary): the probabilities drawn from."""
        return softmax(self.logits)

    @cached_property
    def model_distribution(self) -> Array:
        """(batch, vocabulary): the model's probabilities of the tokens that can be drawn."""
        return softmax(self.model_logits)

    @cached_property
    def entropy(self) -> NDArray[np.float64]:
        """(batch,) nats: entropy of the distribution drawn from."""
        return entropy_of_logits(self.logits)

    @cached_property
    def model_entropy(self) -> NDArray[np.float64]:
        """(batch,) nats: entropy of the model's distribution."""
        return entropy_of_logits(self.model_logits)


@dataclass(frozen=True)
class DecodingTask:
    """What a decoder is asked to do.

    Attributes:
        model: where the logits come from.
        prompt: (time,) token ids that every sample begins with.
        sampler: reshapes the distributions.
        random_stream: the uniform numbers; its length is the number of samples.
        length: how many tokens to draw at most for each sample.
        unknown: whether the word for everything unknown may be drawn.
    """

    model: LanguageModel
    prompt: NDArray[np.int64]
    sampler: Sampler
    random_stream: RandomStream
    length: int
    unknown: bool = False

    def with_samples(self, samples: Sequence[int]) -> DecodingTask:
        """Return the same task for other samples of the run.

        Args:
            samples: indices; each decides the random numbers of one text, with the seed.
        """
        return replace(self, random_stream=RandomStream(self.random_stream.seed, samples))

    def start(self) -> Session:
        """A session with the prompt read once and forked for every sample."""
        session = self.model.start(self.prompt[None, :])
        session.select(np.zeros(len(self.random_stream), dtype=np.int64))
        return session

    def context(self) -> ContextBuilder:
        """The past of every sample: the prompt."""
        return ContextBuilder(
            self.prompt,
            len(self.random_stream),
            self.length,
            self.model.vocabulary,
            self.model_surprisal,
        )

    def distribution(
        self, raw: Array, context: Context, *, given: bool = False, unchecked: bool = False
    ) -> tuple[Array, Array]:
        """The next-token distribution of each row: the model's, and what the sampler makes of it.

        Args:
            raw: (batch, vocabulary), the logits of a session.
            context: the past of the same rows.
            given: whether the session has given them away, so that they may be changed.
            unchecked: whether the caller sees to it that the latter are distributions, as `draw`
                does by the way.

        Returns:
            The model's logits without what is never drawn, and the logits to draw from.

        Raises:
            ModelOutputError: logits that no sampler could use.
            SamplerError: the sampler raised or returned no distribution.
        """
        model_logits = self.model_logits(raw, context.step, given=given)
        run = run_stages if unchecked else apply
        return model_logits, run(self.sampler, model_logits, context)

    def model_logits(self, raw: Array, step: int, *, given: bool = False) -> Array:
        """The logits of a session, checked, with what is never drawn at minus infinity.

        Args:
            raw: (batch, vocabulary).
            step: how many tokens were drawn so far, for messages.
            given: whether the session has given them away, so that they may be changed.

        Raises:
            ModelOutputError: logits that no sampler could use.
        """
        raw, size = np.asarray(raw), len(self.model.vocabulary)
        if raw.ndim != 2 or raw.shape[1] != size or raw.dtype not in (np.float32, np.float64):
            raise ModelOutputError(
                f"the model's logits must be (batch, {size}) in float32 or float64, "
                f"not {raw.shape} in {raw.dtype}"
            )
        rest, proper = mask_tokens(raw, self._never, in_place=given)
        if not proper:
            check_logits(raw, f"the model's logits at step {step}")
            check_logits(rest, f"the model's logits at step {step}")
        return rest

    def draw(
        self, logits: Array, position: int, samples: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Draw a token for each row by the luck of its sample.

        Args:
            logits: (batch, vocabulary), to draw from.
            position: 0 for the first token after the prompt.
            samples: (batch,) which sample each row is.

        Returns:
            (batch,) ids, and how surprising they are in nats.

        Raises:
            SamplerError: a row is no distribution.
        """
        tokens, surprisal, proper = draw_checked(logits, self.random_stream.at(position)[samples])
        if not proper:
            raise invalid_result(self.sampler, logits, position)
        return tokens, surprisal

    def model_surprisal(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """How surprising tokens were to the model, by reading the texts again.

        Args:
            tokens: (batch, time) ids, those of the prompt first.

        Returns:
            (batch, time) nats; nan for the prompt.
        """
        given = len(self.prompt)
        session, nats = self.model.start(tokens[:, :given]), np.full(tokens.shape, np.nan)
        for position in range(given, tokens.shape[1]):
            logits = self.model_logits(session.logits, position - given)
            nats[:, position] = surprisals(logits, tokens[:, position])
            session.extend(tokens[:, position])
        return nats

    @cached_property
    def _never(self) -> NDArray[np.int64]:
        return never_drawn(self.model.vocabulary, self.unknown)


class Decoder(Parameterized, ABC):
    """A way to write texts from next-token distributions. A frozen dataclass, as samplers are."""

    @abstractmethod
    def __call__(self, task: DecodingTask) -> Iterator[Step]:
        """Yield the steps of the samples, position by position.

        A sample ends with its end token or after `task.length` tokens; its row is then gone
        from the later steps. Randomness comes from `task.random_stream` alone.
        """


class Ancestral(Decoder):
    """Draw each token from the distribution that the sampler returns, and go on from there."""

    def __call__(self, task: DecodingTask) -> Iterator[Step]:
        if task.length == 0 or len(task.random_stream) == 0:
            return
        session, past = task.start(), task.context()
        samples, end = np.arange(len(task.random_stream)), task.model.vocabulary.end
        giver = session if isinstance(session, GivingSession) else None
        for position in range(task.length):
            context = past.context  # made while a session may still be reading
            raw = giver.give_logits() if giver else session.logits
            model_logits, logits = task.distribution(
                raw, context, given=bool(giver), unchecked=True
            )
            tokens, surprisal = task.draw(logits, position, samples)
            going = [row for row, token in enumerate(tokens.tolist()) if token != end]
            last = position + 1 == task.length or not going
            if giver and not last:  # which reads while others look at the step
                _go_on(giver, tokens, going)
            step = Step(position, samples, tokens, model_logits, logits, surprisal)
            yield step
            if last:
                return
            if not giver:
                _go_on(session, tokens, going)
            past.append(tokens, surprisal, partial(getattr, step, "model_surprisal"))
            if len(going) < len(tokens):
                rows = np.array(going)
                samples = samples[rows]
                past.select(rows)


def _go_on(session: Session, tokens: NDArray[np.int64], going: list[int]) -> None:
    """Tell a session of the rows that still go on what was drawn."""
    if len(going) < len(tokens):
        session.select(going)
        tokens = tokens[going]
    session.extend(tokens)


@hookimpl
def corelm_decoders() -> Mapping[str, type[Decoder]]:
    """The decoder that corelm itself offers."""
    return {"ancestral": Ancestral}
