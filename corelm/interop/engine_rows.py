"""The texts of an engine's batch, which the rows of its next step continue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.context import Context
from corelm.contracts.language_model import Vocabulary
from corelm.contracts.step import model_surprisals
from corelm.numerics.distributions import Array, surprisals

Ids = NDArray[np.int64]
Nats = NDArray[np.float64]
NONE: Nats = np.empty(0)


@dataclass(frozen=True, eq=False)
class EngineRow:
    """A text of the batch.

    Attributes:
        tokens: (time,) ids, the prompt first.
        prompt_length: the number of tokens in the prompt.
        sample: the row in which the text began, which decides its random numbers.
        surprisal: nats, of the tokens after the prompt under the sampler's distributions; empty
            if no sampler reads it.
        model_surprisal: nats, of these tokens under the model's distributions.
    """

    tokens: Ids
    prompt_length: int
    sample: int
    surprisal: Nats
    model_surprisal: Nats

    @property
    def position(self) -> int:
        """The number of tokens after the prompt."""
        return len(self.tokens) - self.prompt_length


class EngineRows:
    """The texts of the last step, which the rows of the next step continue.

    An engine passes tokens only: neither the length of the prompt nor surprisals. Both are carried
    over from the step before. Rows are matched by their tokens, so the engine may reorder, fork or
    drop them.
    """

    def __init__(self) -> None:
        self.rows: list[EngineRow] = []
        self._logits: tuple[Array, Array] | None = None

    def advance(
        self,
        tokens: Sequence[ArrayLike],
        samples: Sequence[int] | Ids | None = None,
        prompt_lengths: Sequence[int] | Ids | None = None,
    ) -> None:
        """Replace the rows by the rows of the next step.

        Args:
            tokens: for each row the ids of its text so far, of any lengths.
            samples: for each row the index of its sample; a row then continues only a text of the
                same sample. By default a new text has the index of its row.
            prompt_lengths: for each row the length of its prompt, which a new text then has. By
                default a new text is all prompt.
        """
        texts = [np.asarray(text, dtype=np.int64) for text in tokens]
        lengths = [len(text) for text in texts] if prompt_lengths is None else prompt_lengths
        ids = range(len(texts)) if samples is None else samples
        self.rows = [
            self._row(
                EngineRow(text, min(int(length), len(text)), int(sample), NONE, NONE),
                self._candidates(i) if samples is None else self._of_sample(int(sample)),
            )
            for i, (text, length, sample) in enumerate(zip(texts, lengths, ids, strict=True))
        ]
        self._logits = None

    def clear(self) -> None:
        """Forget the texts, so that every row of the next step starts one."""
        self.rows, self._logits = [], None

    def remember(self, model_logits: Array, logits: Array) -> None:
        """Keep the distributions of this step, for the surprisals of the next tokens."""
        self._logits = model_logits, logits

    def continued(self, tokens: Ids, candidates: Iterable[int] | None = None) -> int | None:
        """Return the row of the last step that these tokens continue by one, or None.

        Args:
            tokens: (time,) ids.
            candidates: the rows to try, in this order; by default all.
        """
        for j in range(len(self.rows)) if candidates is None else candidates:
            before = self.rows[j].tokens
            # The lengths first: they rule out most rows without a look at their tokens.
            if len(before) + 1 == len(tokens) and np.array_equal(before, tokens[:-1]):
                return j
        return None

    def _row(self, new: EngineRow, candidates: Iterable[int]) -> EngineRow:
        """Return a row that continues a text of the last step, or the new text."""
        j = self.continued(new.tokens, candidates)
        if j is None:
            return new
        before, nats = self.rows[j], self._surprisals(j, new.tokens[-1:])
        return EngineRow(new.tokens, before.prompt_length, before.sample, *nats)

    def _candidates(self, i: int) -> Iterator[int]:
        """Yield the indices of the last step's rows, the one in the same place first."""
        # Nearly every step keeps the order, so the first comparison nearly always succeeds.
        if i < len(self.rows):
            yield i
        yield from (j for j in range(len(self.rows)) if j != i)

    def _of_sample(self, sample: int) -> Iterator[int]:
        """Yield the indices of the last step's rows that belong to a sample."""
        return (j for j, row in enumerate(self.rows) if row.sample == sample)

    def _surprisals(self, j: int, token: Ids) -> tuple[Nats, Nats]:
        before = self.rows[j]
        if self._logits is None:  # no sampler reads surprisals, so they were not kept
            return NONE, NONE
        of_model, of_sampler = (logits[j : j + 1] for logits in self._logits)
        model, sampler = model_surprisals(of_model, token), surprisals(of_sampler, token)
        return np.append(before.surprisal, sampler), np.append(before.model_surprisal, model)


def context_of(rows: Sequence[EngineRow], vocabulary: Vocabulary | None, size: int) -> Context:
    """Return the context of rows of one length and prompt length, with `size` logits each."""
    tokens, prompt_length = np.stack([row.tokens for row in rows]), rows[0].prompt_length
    return Context(
        tokens,
        _padded([row.surprisal for row in rows], tokens),
        _padded([row.model_surprisal for row in rows], tokens),
        prompt_length,
        vocabulary,
        size,  # an engine whose tokenizer is unknown has a vocabulary without a length
    )


def _padded(nats: Sequence[Nats], tokens: Ids) -> Nats:
    """Return (batch, time) surprisals, nan where a token has none."""
    padded = np.full(tokens.shape, np.nan)
    for row, own in zip(padded, nats, strict=True):
        row[len(row) - len(own) :] = own
    return padded
