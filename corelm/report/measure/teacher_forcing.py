"""One pass over the model: its distribution at every position of given texts.

The texts are read in step, as many at a time as are decoded together, so that the model is asked
once for each position, whoever looks at what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from corelm.context import Context
from corelm.decoding.model_logits import ModelLogits
from corelm.generation.generate import BATCH
from corelm.language_model import LanguageModel, Vocabulary
from corelm.numerics.distributions import Array, surprisals
from corelm.report.measure.contexts import Contexts
from corelm.report.measure.divergence import known
from corelm.sampler import Sampler
from corelm.validation import apply, run_stages

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Group:
    """Texts that are read in step.

    Attributes:
        texts: (batch,) the index of each in the contexts.
        tokens: (batch, time) ids; a shorter text is filled up with 0.
        lengths: (batch,) how many tokens each has.
        given: how many tokens at the beginning of each are only given.
        vocabulary: what the ids stand for.
        model_surprisal: (batch, time) nats, of each token under the model; nan where it was
            given, cannot be drawn or has not been read yet.
    """

    texts: tuple[int, ...]
    tokens: Ids
    lengths: Ids
    given: int
    vocabulary: Vocabulary
    model_surprisal: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_surprisal", np.full(self.tokens.shape, np.nan))


@dataclass(frozen=True, eq=False)
class Position:
    """What the model says at one position of the texts that reach it.

    Attributes:
        time: how many tokens lie before it.
        step: how many of them were not only given.
        rows: (rows,) which texts of the group, or a slice where that is all of them.
        tokens: (rows,) the token that each text went on with.
        logits: (rows, vocabulary) the model's, without the tokens that are never drawn.
        past: (rows, time) the tokens before.
        model_surprisal: (rows, time) nats, of each of these under the model.
    """

    time: int
    step: int
    rows: Ids | slice
    tokens: Ids
    logits: Array
    past: Ids
    model_surprisal: NDArray[np.float64]


def groups(model: LanguageModel, contexts: Contexts, texts: Sequence[int]) -> Iterator[Group]:
    """Texts of the contexts in groups that have the same number of given tokens.

    Args:
        model: says what the ids stand for.
        contexts: the texts.
        texts: which of them, by index.
    """
    for given in sorted({contexts.given[i] for i in texts}):
        alike = [i for i in texts if contexts.given[i] == given]
        for first in range(0, len(alike), BATCH):
            yield _group(model, contexts, tuple(alike[first : first + BATCH]), given)


def _group(model: LanguageModel, contexts: Contexts, texts: tuple[int, ...], given: int) -> Group:
    lengths = np.array([len(contexts.texts[i]) for i in texts], dtype=np.int64)
    tokens = np.zeros((len(texts), int(lengths.max())), dtype=np.int64)
    for row, i in enumerate(texts):
        tokens[row, : lengths[row]] = contexts.texts[i]
    return Group(texts, tokens, lengths, given, model.vocabulary)


def read(model: LanguageModel, group: Group) -> Iterator[Position]:
    """The model's distribution at every position of a group, one position of all texts at a time.

    Raises:
        ModelOutputError: logits that no sampler could use.
    """
    prepare, session = ModelLogits(model.vocabulary), model.start(group.tokens[:, : group.given])
    rows: Ids | slice = slice(None)
    for time in range(group.given, group.tokens.shape[1]):
        reached = group.lengths[rows] > time
        if not reached.all():
            rows = np.arange(len(group.texts))[rows][reached]
            session.select(np.flatnonzero(reached))
        if time > group.given:
            session.extend(group.tokens[rows, time - 1])
        step = time - group.given
        logits = prepare(session.next_logits(), step)
        tokens = np.ascontiguousarray(group.tokens[rows, time])
        group.model_surprisal[rows, time] = known(surprisals(logits, tokens))
        past = group.tokens[rows, :time], group.model_surprisal[rows, :time]
        for array in past:
            array.setflags(write=False)
        yield Position(time, step, rows, tokens, logits, *past)


class Reader:
    """A sampler that follows a group of texts, as if it had drawn them where it could have.

    What it is told of the past is what it would know of a text of its own: the tokens, their
    surprisal under the model and under its own distributions. A token that it could not have
    drawn has no surprisal; it counts as given.

    Args:
        sampler: the sampler.
        group: the texts.
    """

    def __init__(self, sampler: Sampler, group: Group) -> None:
        self._sampler = sampler
        self._group = group
        self._surprisal = np.full(group.tokens.shape, np.nan)
        self._told = self._surprisal.view()
        self._told.setflags(write=False)

    def logits(self, position: Position) -> Array:
        """Return the sampler's logits at a position: (rows, vocabulary).

        Raises:
            SamplerError: the sampler raised, or its result is not a distribution.
            UsageError: the sampler cannot do what it was asked for.
        """
        return apply(self._sampler, position.logits, self._context(position))

    def unvalidated_logits(self, position: Position) -> Array:
        """Return the same, but leave it to the caller to validate the last stage's output."""
        return run_stages(self._sampler, position.logits, self._context(position))

    def _context(self, position: Position) -> Context:
        return Context(
            position.past,
            self._told[position.rows, : position.time],
            position.model_surprisal,
            self._group.given,
            self._group.vocabulary,
        )

    def follow(self, position: Position, surprisal: NDArray[np.float64]) -> None:
        """Remember how surprising the next token of each text was under the sampler.

        Args:
            position: the last one that it was asked about.
            surprisal: (rows,) of the tokens that the texts went on with, in nats; nan where it
                could not have drawn them.
        """
        self._surprisal[position.rows, position.time] = surprisal
