"""Teacher forcing: one pass of the model over texts, with its distribution at every position.

The texts are read in step, as many at a time as a batch holds. The model computes each position
once, however many samplers are measured there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Context, LanguageModel, Sampler, Vocabulary
from corelm.errors import SamplerError
from corelm.reports.measure.contexts import Contexts
from corelm.toolkit import (
    BATCH,
    Comparison,
    ModelLogits,
    ModelRows,
    apply,
    invalid_result,
    model_surprisals,
    nan_if_impossible,
    run_stages,
)

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Group:
    """A batch of texts that are read in step.

    Attributes:
        texts: (batch,) the index of each text in the contexts.
        tokens: (batch, time) ids; shorter texts are padded with 0.
        lengths: (batch,) the length of each text in tokens.
        prompt_length: the length of their prompts in tokens, the same for all.
        vocabulary: the vocabulary of the ids.
        model_surprisal: (batch, time) nats, of each token under the model; nan for tokens of the
            prompt, tokens that cannot be drawn, and tokens not read yet.
    """

    texts: tuple[int, ...]
    tokens: Ids
    lengths: Ids
    prompt_length: int
    vocabulary: Vocabulary
    model_surprisal: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_surprisal", np.full(self.tokens.shape, np.nan))


@dataclass(frozen=True, eq=False)
class Position:
    """The model's distributions at one position of the texts that reach it.

    Attributes:
        time: the number of tokens before it.
        step: the number of those behind the prompt.
        rows: (rows,) the texts of the group, by index, or a slice if that is all of them.
        tokens: (rows,) the next token of each text.
        logits: (rows, vocabulary), the model's, with minus infinity for tokens never drawn.
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
    """Divide texts of the contexts into groups with prompts of the same length.

    Args:
        model: the model whose vocabulary the ids are of.
        contexts: the texts.
        texts: the indices of those to divide.
    """
    # A context has one prompt length for all of its rows.
    for prompt_length in sorted({contexts.prompt_lengths[i] for i in texts}):
        alike = [i for i in texts if contexts.prompt_lengths[i] == prompt_length]
        for first in range(0, len(alike), BATCH):
            yield _group(model, contexts, tuple(alike[first : first + BATCH]), prompt_length)


def _group(
    model: LanguageModel, contexts: Contexts, texts: tuple[int, ...], prompt_length: int
) -> Group:
    lengths = np.array([len(contexts.texts[i]) for i in texts], dtype=np.int64)
    # The padding is never read: `read` drops a text where it ends.
    tokens = np.zeros((len(texts), int(lengths.max())), dtype=np.int64)
    for row, i in enumerate(texts):
        tokens[row, : lengths[row]] = contexts.texts[i]
    return Group(texts, tokens, lengths, prompt_length, model.vocabulary)


def read(model: LanguageModel, group: Group) -> Iterator[Position]:
    """Yield the model's distributions at every position of a group, for all texts at once.

    Raises:
        ModelOutputError: the model returned logits that no sampler can use.
    """
    prepare = ModelLogits(model.vocabulary)
    session = model.start(group.tokens[:, : group.prompt_length])
    rows: Ids | slice = slice(None)
    for time in range(group.prompt_length, group.tokens.shape[1]):
        reached = group.lengths[rows] > time
        # A text that has ended leaves the session, so that the model computes no padding.
        if not reached.all():
            rows = np.arange(len(group.texts))[rows][reached]
            session.select(np.flatnonzero(reached))
        # One token behind: the last one of a text is scored and never read.
        if time > group.prompt_length:
            session.extend(group.tokens[rows, time - 1])
        step = time - group.prompt_length
        logits = prepare(session.next_logits(), step)
        # A column of the table: without this, the kernels would copy it for each sampler.
        tokens = np.ascontiguousarray(group.tokens[rows, time])
        group.model_surprisal[rows, time] = nan_if_impossible(model_surprisals(logits, tokens))
        past = group.tokens[rows, :time], group.model_surprisal[rows, :time]
        # All samplers get the same arrays: a faulty one must not change the text of the others.
        for array in past:
            array.setflags(write=False)
        yield Position(time, step, rows, tokens, logits, *past)


class Reader:
    """A sampler that reads a group of texts as if it had drawn them.

    Its context is the one that it would have on a text of its own: the tokens, their surprisal
    under the model, and under its own distributions. A token that it could not have drawn has no
    surprisal, like one of the prompt.

    Args:
        sampler: the sampler.
        group: the texts.
    """

    def __init__(self, sampler: Sampler, group: Group) -> None:
        self._sampler = sampler
        self._group = group
        self._surprisal = np.full(group.tokens.shape, np.nan)
        self._read_only = self._surprisal.view()
        self._read_only.setflags(write=False)

    def logits(self, position: Position) -> Array:
        """Return the sampler's logits at a position: (rows, vocabulary).

        Raises:
            SamplerError: the sampler raised, or did not return distributions.
            UsageError: the sampler does not fit this model.
        """
        return apply(self._sampler, position.logits, self._context(position))

    def compare(self, position: Position, model: ModelRows) -> Comparison:
        """Return the figures of the sampler's distributions at a position.

        Args:
            position: the position.
            model: the model's distributions there.

        Raises:
            SamplerError: the sampler raised, did not return distributions, or restored a token.
            UsageError: the sampler does not fit this model.
        """
        # The comparison validates the last stage's output in the same pass.
        logits = run_stages(self._sampler, position.logits, self._context(position))
        found = model.compare(logits, position.tokens)
        if found is None:
            raise invalid_result(self._sampler, logits, position.step)
        if found.restored is not None:
            raise SamplerError(
                f"{self._sampler} restored token {found.restored}, which is never drawn, "
                f"at step {position.step}"
            )
        return found

    def _context(self, position: Position) -> Context:
        return Context(
            position.past,
            self._read_only[position.rows, : position.time],
            position.model_surprisal,
            self._group.prompt_length,
            self._group.vocabulary,
        )

    def store(self, position: Position, surprisal: NDArray[np.float64]) -> None:
        """Store the surprisal of the next token of each text under the sampler.

        Args:
            position: the position of the latest logits.
            surprisal: (rows,) nats, of the next tokens; nan for a token that it could not have
                drawn.
        """
        self._surprisal[position.rows, position.time] = surprisal
