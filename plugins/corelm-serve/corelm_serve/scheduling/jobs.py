"""One prompt of a request: what to write, its texts in progress, and where its events go."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import (
    Array,
    Context,
    Generation,
    LanguageModel,
    Sampler,
    Step,
    TokenRecord,
    log_softmax,
)
from corelm.runs import ContinuousBatch, Endings, OpenTexts, Strategy, Texts, printable
from corelm_serve.errors import ApiError
from corelm_serve.scoring import (
    SETS,
    Recorded,
    Scores,
    fits_together,
    likeliest,
    recorded,
    score,
    score_together,
)

logger = logging.getLogger("corelm.serve")
PARTS = 4
"""The number of blocks in which the tokens of one pass are scored. With 20 log-probabilities each
on imdb, 512 tokens at once took 0.33 s of processor time, four times 128 tokens 0.19 s."""
PAUSE = 1 / 60
"""Seconds between two pieces of a text, as between two pictures of a screen. A fast model draws
several tokens in them: to send each by itself takes as long as to draw it."""
FULL = 32
"""Tokens with tables after which a piece doesn't wait: each is some 700 bytes of a write."""


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
        return 1 + len(self.entropies) + ids + sum(7 + len(each.allowed) for each in self.recorded)


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
            stage = UntilCancelled()
            object.__setattr__(stage, "_job", self)  # a sampler is frozen
            strategy = Strategy(strategy.sampler | stage, strategy.decoder)
        return Texts(
            "", strategy, self.length, self.n, self.seed, self.endings, self.unknown,
            ids=self.ids,
        )  # fmt: skip

    @property
    def is_ancestral(self) -> bool:
        """True if its texts can share steps with other jobs' texts."""
        return self.strategy.decoder is None

    @property
    def takes_notes(self) -> bool:
        """True if more is kept of each step than its tokens."""
        return self.tables is not None or self.record is not None


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


class Writing:
    """The texts of a job, from its first piece of work to its end.

    Args:
        model: the language model.
        job: the job.

    Attributes:
        job: what to write.
        request: its part of the batch; None before it has joined.
        end: the texts, or the error that ended them; None while they grow.
        is_busy: True if there is something to do after each step.
    """

    def __init__(self, model: LanguageModel, job: Job) -> None:
        self.job = job
        self.request: Any = None  # as `ContinuousBatch.add` returns it
        # Set once, by `join`, `advance` or the lane, on the thread of the lane: the result, or the
        # error that took its place. The lane then takes the writing out and reports the end.
        self.end: Written | Exception | None = None
        self._model, self._scores = model, Scores() if job.scored else None
        self._blocks: Generator[None, int, Scores] | None = None
        self._collector: _Collector | None = None
        self.is_scored: bool = not job.scored
        """True if its prompt needs no more scoring."""
        self.blocks: int = 0
        """The blocks of its prompt that were scored, alone."""
        self._is_alone = False
        self.is_busy: bool = job.streamed or job.takes_notes

    def score(self, size: int) -> None:
        """Score a block of the prompt.

        Args:
            size: the largest number of tokens in a pass.
        """
        self.blocks += 1
        try:
            if self._blocks is None:
                job = self.job
                self._blocks = score(self._model, job.ids, job.tables or 0, job.unknown)
                next(self._blocks)  # to where it asks for a size
            self._blocks.send(size // PARTS)
        except StopIteration as end:
            self._take(end.value)

    @property
    def is_alone(self) -> bool:
        """True if its prompt can't be scored in one pass with others."""
        return self._is_alone or self.blocks > 0

    def score_with(self, others: Sequence[Writing]) -> None:
        """Score the whole prompt in one pass with the prompts of others."""
        writings = [self, *others]
        try:
            prompts = [writing.job.ids for writing in writings]
            counts = [writing.job.tables or 0 for writing in writings]
            scored = score_together(self._model, prompts, counts, self.job.unknown)
        except Exception as error:  # each alone, so that a prompt that fails fails alone
            logger.info("prompts are scored one by one: %s", printable.shown(error))
            for writing in writings:
                writing._is_alone = True
            return
        for writing, scores in zip(writings, scored, strict=True):
            writing._take(scores)

    def _take(self, scores: Scores) -> None:
        self._scores, self.is_scored = scores, True
        if self.job.streamed:
            self.job.tell(self.job, scores)

    def join(self, batch: ContinuousBatch) -> None:
        """Add the texts to the batch; without a token to draw they have ended."""
        job, texts = self.job, self.job.texts
        if job.length:
            self.request = batch.add(texts, measured=job.measured, each_step=job.takes_notes)
            self._collector = _Collector(job, self.request.open_texts)
            self.request.open_texts.with_entropies = True
            return
        if job.streamed:
            for sample in range(job.n):
                job.tell(job, Piece(sample, "", [], [], [], "length"))
        opened = texts.open(self._model, range(job.n))
        self.end = _Collector(job, opened).written(self._scores)

    def advance(self) -> None:
        """Report the new pieces after a part of the request's work; an error is its end."""
        request, collector = self.request, self._collector
        assert collector is not None
        try:
            collector.collect(request)
            if request.is_finished:
                self.end = request.error or collector.written(self._scores)
        except Exception as error:
            self.end = error

    def drop(self) -> None:
        """Stop writing: the rows leave before the next step."""
        if self.request is not None:
            self.request.finish()


def together(model: LanguageModel, writings: Sequence[Writing], size: int) -> list[Writing]:
    """Return the writing whose turn it is, and others to score in one pass with it.

    It is the turn of the one with the fewest blocks so far: long prompts don't hold up short ones.

    Args:
        model: the language model.
        writings: at least one, with prompts that are not scored yet.
        size: the largest number of tokens in a pass.
    """
    first, *others = sorted(writings, key=lambda writing: writing.blocks)
    batch = [first]
    for other in others:
        lengths = [len(writing.job.ids) for writing in (*batch, other)]
        is_alike = other.job.unknown == first.job.unknown and not (first.is_alone or other.is_alone)
        if is_alike and fits_together(model, lengths, size):
            batch.append(other)
    return batch


class _Collector:
    """A collector of the tables of a job's tokens, and of each text's new piece.

    Args:
        job: the job.
        texts: its texts.
    """

    def __init__(self, job: Job, texts: OpenTexts) -> None:
        self._job, self._texts = job, texts
        self._read = [0] * job.n  # tokens of each text so far
        self._sent = [0] * job.n
        self._tables: list[list[TokenTable]] = [[] for _ in range(job.n)]
        self._recorded: list[list[Recorded]] = [[] for _ in range(job.n)]
        self._ids = 0  # in all sets
        self._next = 0.0  # the time of the next pieces

    def written(self, scores: Scores | None) -> Written:
        """Return the end of the job."""
        texts = self._texts.generations()
        return Written(texts, self._texts.entropies, self._tables, scores, self._recorded)

    def collect(self, request: Any) -> None:
        """Take notes of the last step of the request, and report its pieces if it is their time.

        Args:
            request: as `ContinuousBatch.add` returns it.
        """
        is_noted = self._job.takes_notes and request.error is None
        if is_noted and (step := request.step) is not None:
            self._note(step)
        now = time.monotonic()
        is_full = max(map(len, self._tables)) >= FULL
        if not self._job.streamed or not (is_full or request.is_finished or now >= self._next):
            return
        for sample, tokens in enumerate(self._texts.tokens):
            if len(tokens) > self._sent[sample]:
                self._next = now + PAUSE
                self._job.tell(self._job, self._piece(sample))

    def _note(self, step: Step) -> None:
        samples = step.samples.tolist()
        # A text that had ended before this step has no new token.
        new = [row for row, i in enumerate(samples) if self._read[i] < len(self._texts.tokens[i])]
        if self._job.tables is not None and new:
            model, sampler = log_softmax(step.model_logits), log_softmax(step.logits)
            for row in new:
                ids = [int(step.tokens[row]), *likeliest(model[row], self._job.tables)]
                table = TokenTable(np.array(ids, np.int32), model[row, ids], sampler[row, ids])
                self._tables[samples[row]].append(table)
        if self._job.record is not None and new:
            self._record(step, new)
        for row in new:
            self._read[samples[row]] += 1

    def _record(self, step: Step, rows: Sequence[int]) -> None:
        records = recorded(step, rows, self._job.record == SETS)
        self._ids += sum(len(each.allowed) for each in records)
        if self._ids > self._job.most_ids:
            message = f"the sets have more than {self._job.most_ids:,} ids in all: add a top_k to "
            message += "the chain, or record figures alone"
            raise ApiError(message, param="record", code="too_large")
        for row, each in zip(rows, records, strict=True):
            self._recorded[int(step.samples[row])].append(each)

    def _piece(self, sample: int) -> Piece:
        reason = self._texts.finish_reasons[sample]
        sent, self._sent[sample] = self._sent[sample], len(self._texts.tokens[sample])
        # Tables that were sent aren't kept.
        tables, self._tables[sample] = self._tables[sample], []
        noted, self._recorded[sample] = self._recorded[sample], []
        return Piece(
            sample,
            self._texts.texts[sample].take_settled(last=reason is not None),
            self._texts.entropies[sample][sent:],
            self._texts.records[sample][sent:],
            tables,
            reason,
            noted,
        )
