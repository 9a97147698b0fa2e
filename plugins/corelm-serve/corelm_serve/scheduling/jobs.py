"""One prompt of a request: what to write, its texts in progress, and where its events go."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
    TokenTable,
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
        client: whose request it is, so that clients have equal shares.
        request: the number of the request; set by the scheduler.
        begun: the number of its rows that have joined; changed under the scheduler's lock.
        ended: the number of these that have left; changed by the thread of the lane.
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
    client: str = ""
    cancelled: bool = field(default=False, init=False)
    request: int = field(default=0, init=False)
    begun: int = field(default=0, init=False)
    ended: int = field(default=0, init=False)
    recorded_ids: int = field(default=0, init=False)

    @property
    def rows(self) -> int:
        """The rows of all its texts; one if it draws no tokens."""
        return self.n if self.length else 1

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
    def is_costly(self) -> bool:
        """True if its steps take much longer than to draw a token of each text."""
        is_slow = self.scored or self.takes_notes or bool(self.endings.stops.patterns)
        return is_slow or self.strategy.sampler.has_masks

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
        parts: its texts in the batch, in order; a large job may join part by part.
        end: the texts, or the error that ended them; None while they grow.
        is_busy: True if there is something to do after each step.
    """

    def __init__(self, model: LanguageModel, job: Job) -> None:
        self.job = job
        self.parts: list[TextPart] = []
        # Set once, by `join`, `advance` or the lane, on the thread of the lane: the result, or the
        # error that took its place. The lane then takes the writing out and reports the end.
        self.end: Written | Exception | None = None
        self._joined = 0  # rows
        self._model, self._scores = model, Scores() if job.scored else None
        self._blocks: Generator[None, int, Scores] | None = None
        self.is_scored: bool = not job.scored
        """True if its prompt needs no more scoring."""
        self.blocks: int = 0
        """The blocks of its prompt that were scored, alone."""
        self._is_alone = False
        self.is_busy: bool = job.streamed or job.takes_notes

    @property
    def may_join(self) -> bool:
        """True if it has rows that haven't joined the batch yet."""
        return self._joined < self.job.begun

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
        """Add the texts that may join to the batch; without a token to draw they have ended."""
        job, texts = self.job, self.job.texts
        samples, self._joined = range(self._joined, job.begun), job.begun
        if job.length:
            request = batch.add(texts, samples, job.measured, each_step=job.takes_notes)
            request.open_texts.with_entropies = True
            self.parts.append(TextPart(job, request.open_texts, request))
            return
        if job.streamed:
            for sample in range(job.n):
                job.tell(job, Piece(sample, "", [], [], [], "length"))
        self.parts.append(TextPart(job, texts.open(self._model, range(job.n))))
        self.end = self._written()

    def advance(self, part: TextPart) -> None:
        """Report the new pieces after some of the part's work; an error is the job's end."""
        request = part.request
        if request is None:  # it has ended in an earlier turn of this step
            return
        try:
            part.collect()
            if request.is_finished:
                part.request, self.end = None, request.error
                self.job.ended += len(part.texts.samples)
            if self.job.ended == self.job.n:
                self.end = self.end or self._written()
        except Exception as error:
            self.end = error

    def _written(self) -> Written:
        texts: list[Generation] = []
        entropies: list[list[float]] = []
        for part in self.parts:
            texts += part.texts.generations()
            entropies += part.texts.entropies
        tables = [each for part in self.parts for each in part.tables]
        notes = [each for part in self.parts for each in part.recorded]
        return Written(texts, entropies, tables, self._scores, notes)

    def drop(self) -> None:
        """Stop writing: the rows leave before the next step."""
        for part in self.parts:
            if part.request is not None:
                part.request.finish()


class TextPart:
    """Some texts of a job, with the tables of their tokens, and each text's new piece.

    Args:
        job: the job.
        texts: its texts.
        request: these texts in the batch; None when they have ended.
    """

    def __init__(self, job: Job, texts: OpenTexts, request: Any = None) -> None:
        self._job, self.texts, self.request = job, texts, request
        size = len(texts.samples)
        self._read = [0] * size  # tokens of each text so far
        self._sent = [0] * size
        self.tables: list[list[TokenTable]] = [[] for _ in range(size)]
        self.recorded: list[list[Recorded]] = [[] for _ in range(size)]
        self._next = 0.0  # the time of the next pieces

    def collect(self) -> None:
        """Take notes of the last step of the request, and report its pieces if it is their time."""
        request = self.request
        is_noted = self._job.takes_notes and request.error is None
        if is_noted and (step := request.step) is not None:
            self._note(step)
        now = time.monotonic()
        is_full = max(map(len, self.tables)) >= FULL
        if not self._job.streamed or not (is_full or request.is_finished or now >= self._next):
            return
        for place, tokens in enumerate(self.texts.tokens):
            if len(tokens) > self._sent[place]:
                self._next = now + PAUSE
                self._job.tell(self._job, self._piece(place))

    def _note(self, step: Step) -> None:
        first = self.texts.samples[0]
        places = [sample - first for sample in step.samples.tolist()]
        # A text that had ended before this step has no new token.
        new = [row for row, i in enumerate(places) if self._read[i] < len(self.texts.tokens[i])]
        if self._job.tables is not None and new:
            model, sampler = log_softmax(step.model_logits), log_softmax(step.logits)
            for row in new:
                ids = [int(step.tokens[row]), *likeliest(model[row], self._job.tables)]
                table = TokenTable(np.array(ids, np.int32), model[row, ids], sampler[row, ids])
                self.tables[places[row]].append(table)
        if self._job.record is not None and new:
            self._record(step, new, places)
        for row in new:
            self._read[places[row]] += 1

    def _record(self, step: Step, rows: Sequence[int], places: Sequence[int]) -> None:
        records = recorded(step, rows, self._job.record == SETS)
        self._job.recorded_ids += sum(len(each.allowed) for each in records)
        if self._job.recorded_ids > self._job.most_ids:
            message = f"the sets have more than {self._job.most_ids:,} ids in all: add a top_k to "
            message += "the chain, or record figures alone"
            raise ApiError(message, param="record", code="too_large")
        for row, each in zip(rows, records, strict=True):
            self.recorded[places[row]].append(each)

    def _piece(self, place: int) -> Piece:
        reason = self.texts.finish_reasons[place]
        sent, self._sent[place] = self._sent[place], len(self.texts.tokens[place])
        # Tables that were sent aren't kept.
        tables, self.tables[place] = self.tables[place], []
        noted, self.recorded[place] = self.recorded[place], []
        return Piece(
            self.texts.samples[place],
            self.texts.texts[place].take_settled(last=reason is not None),
            self.texts.entropies[place][sent:],
            self.texts.records[place][sent:],
            tables,
            reason,
            noted,
        )
