"""One prompt of a request: what to write, and where its events go."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Context, Generation, Sampler, TokenRecord
from corelm.runs import Endings, Strategy, Texts
from corelm_serve.rollouts import Recorded
from corelm_serve.scoring import Scores


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Log-probabilities at one token, in nats, for the tokens with the largest ones.

    Arrays, since a server holds a million of these numbers for some clients.

    Attributes:
        ids: the drawn token, then those with the largest log-probabilities, the likeliest first.
        model: their log-probabilities under the model.
        sampler: the same under the distribution that was drawn from.
    """

    ids: NDArray[np.int32]
    model: Array
    sampler: Array


@dataclass(frozen=True)
class Piece:
    """The part of a text that a step added.

    Attributes:
        sample: the index of the text.
        text: the text that has settled since the last piece.
        entropies: of the distributions that its new tokens were drawn from, in nats.
        records: these tokens, if the job is measured.
        tables: a table for each of these tokens, if the job wants tables.
        finish_reason: why the text ended; None while it grows.
        recorded: what a trainer needs of each, if the job wants it.
    """

    sample: int
    text: str
    entropies: list[float]
    records: list[TokenRecord]
    tables: list[TokenTable]
    finish_reason: str | None
    recorded: list[Recorded] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The numbers that it has, as a measure of its memory and of the time to write it."""
        ids = sum(len(table.ids) for table in self.tables)
        return 1 + len(self.entropies) + ids + sum(7 + len(each.kept) for each in self.recorded)


@dataclass(frozen=True)
class Written:
    """The result of a job.

    Attributes:
        texts: the text of each sample.
        entropies: for each text, the entropy of the distribution of each token, in nats.
        tables: for each text, a table for each token, if the job wants them.
        scores: the prompt's log-probabilities, if the job wants them.
        recorded: for each text, what a trainer needs of each token, if the job wants it.
    """

    texts: list[Generation]
    entropies: list[list[float]]
    tables: list[list[TokenTable]]
    scores: Scores | None = None
    recorded: list[list[Recorded]] = field(default_factory=list)


Event = Piece | Scores | Written | BaseException


@dataclass(eq=False)
class Job:
    """One prompt of a request.

    Attributes:
        ids: the ids of the prompt.
        strategy: the sampler and the decoder.
        n: the number of texts.
        seed: the seed of the texts.
        length: the largest number of tokens of a text.
        endings: the conditions that end a text earlier.
        unknown: allow [UNK] to be drawn.
        tables: the number of likeliest tokens in each `TokenTable`; None for no tables.
        measured: keep the surprisal of each token, and the model's entropy; it takes time.
        scored: score the tokens of the prompt.
        record: what a trainer needs of each token: `figures`, or also `sets`; None for nothing.
        most_ids: the largest number of ids in all sets of a text together.
        streamed: send pieces, and the scores as soon as they are there.
        tell: takes each event; called by the thread of the model.
        deadline: the time on `time.monotonic`'s clock at which it is given up.
        index: its place among the prompts of the request.
    """

    ids: list[int]
    strategy: Strategy
    n: int
    seed: int
    length: int
    endings: Endings
    unknown: bool = False
    tables: int | None = None
    measured: bool = False
    scored: bool = False
    record: str | None = None
    most_ids: int = 2**20
    streamed: bool = False
    tell: Callable[[Job, Event], None] = lambda job, event: None
    deadline: float = float("inf")
    index: int = 0
    cancelled: bool = field(default=False, init=False)

    @property
    def texts(self) -> Texts:
        """The texts to write."""
        strategy = self.strategy
        if strategy.decoder is not None:
            strategy = Strategy(strategy.sampler | _until_cancelled(self), strategy.decoder)
        return Texts(
            "", strategy, self.length, self.n, self.seed, self.endings, self.unknown,
            ids=self.ids,
        )  # fmt: skip

    @property
    def is_ancestral(self) -> bool:
        """True if its texts can share steps with other jobs' texts."""
        return self.strategy.decoder is None

    @property
    def is_late(self) -> bool:
        """True if its time is over."""
        return time.monotonic() > self.deadline


class UntilCancelled(Sampler):
    """Change nothing, and raise when a job is cancelled.

    A decoder may take many steps before its first token is known, and looks at nothing else.
    """

    def __call__(self, logits: Array, context: Context) -> Array:
        job: Job = self._job  # type: ignore[attr-defined]
        if job.cancelled:
            raise CancelledError
        return logits


class CancelledError(Exception):
    """The job's client has gone."""


def _until_cancelled(job: Job) -> Sampler:
    stage = UntilCancelled()
    object.__setattr__(stage, "_job", job)  # a sampler is frozen
    return stage
