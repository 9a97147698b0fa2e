"""The lanes of a model: threads that advance its jobs together."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from corelm import LanguageModel
from corelm.runs import ContinuousBatch, PrefixCache, printable
from corelm_serve.errors import ApiError, culprit, ended_by, samplers_in
from corelm_serve.scheduling.jobs import Job, TextPart, Writing
from corelm_serve.scoring import together

logger = logging.getLogger("corelm.serve")

SHARE = 8
"""The part of the tokens that are otherwise read or scored at once, while texts wait for their next
token."""

STEP = 256
"""The tokens of a prompt that may take as long to read as a step."""

Part = tuple[Sequence[Writing], Callable[[], object], int]
"""A part of a round: the writings that it belongs to (none for all of them), the work, and the most
tokens of prompts that it reads."""


@dataclass(eq=False)
class Turn:
    """Work in progress."""

    writings: Sequence[Writing]
    thread: threading.Thread
    started: float
    steps: float


class Lane:
    """A thread that advances its jobs in rounds; a round is a step of a `ContinuousBatch`.

    Work that takes longer than `stall` is given up: its job fails, and a new thread continues with
    the others. The old one is left alone; what it still computes is thrown away.

    Args:
        model: the language model.
        admit: takes the running jobs and returns those of which rows may begin.
        left: called when jobs have ended.
        rows: the most texts at once.
        piece: tokens of a prompt that are read between two steps.
        stall: seconds that a part of a round may take.
        prefixes: the prompts that were read before.

    Attributes:
        abandoned: the threads that were given up, each with the name of the sampler that it was in,
            or None.
    """

    def __init__(
        self,
        model: LanguageModel,
        admit: Callable[[list[Job]], list[Job]],
        left: Callable[[], None],
        *,
        rows: int,
        piece: int,
        stall: float,
        prefixes: PrefixCache,
    ) -> None:
        self._model, self._admit, self._left = model, admit, left
        self._rows, self._piece, self._stall, self._prefixes = rows, piece, stall, prefixes
        self.abandoned: list[tuple[threading.Thread, str | None]] = []
        self._running: dict[Job, Writing] = {}
        self._batch = self._new_batch()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._turn: Turn | None = None
        # The remaining parts of a round; None between rounds.
        self._parts: Iterator[Part] | None = None
        self._epoch = 0
        self._closed = False
        self._start()

    @property
    def jobs(self) -> list[Job]:
        """The jobs that run."""
        with self._lock:
            return list(self._running)

    def wake(self) -> None:
        """Wake the thread to look for new and cancelled jobs."""
        with self._lock:
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread after the part in progress."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def watch(self) -> None:
        """Give up work that takes too long. Called regularly by another thread."""
        with self._lock:
            turn = self._turn
            seconds = 0.0 if turn is None else self._stall * turn.steps
            if turn is None or time.monotonic() - turn.started < seconds:
                return
            frame = sys._current_frames().get(turn.thread.ident or 0)
            message = f"{culprit(frame)} took more than {seconds:g} seconds for one step"
            sampler = next(samplers_in(frame), None)
            alive = [each for each in self.abandoned if each[0].is_alive()]
            self.abandoned = [*alive, (turn.thread, None if sampler is None else sampler.name)]
            self._epoch += 1
            # If a call of the model doesn't return, the rows of all jobs are lost.
            failed = self._take_out(turn.writings)
            self._start()
        logger.warning("%s; %d requests were given up", message, len(failed))
        for job in failed:
            job.tell(job, ApiError(message, 500, code="stalled"))
        self._left()

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, args=(self._epoch,), name="corelm-serve", daemon=True
        )
        thread.start()

    def _new_batch(self) -> ContinuousBatch:
        again = self._piece // SHARE
        return ContinuousBatch(self._model, self._rows, self._piece, self._prefixes, again)

    def _take_out(self, writings: Sequence[Writing]) -> list[Job]:
        """End a turn; return the jobs to end: these, or all if the turn was the model's."""
        self._turn = None
        for writing in writings:
            writing.drop()
            writing.job.cancelled = True  # a decoder that is given up ends at its next step
            del self._running[writing.job]
        if writings:
            return [writing.job for writing in writings]
        failed = list(self._running)
        for job in failed:
            job.cancelled = True  # the rest of it doesn't begin
        self._running.clear()
        self._batch, self._parts = self._new_batch(), None
        return failed

    # ---- the thread ----

    def _run(self, epoch: int) -> None:
        while parts := self._wait(epoch):
            for part in parts:
                if not self._do(*part, epoch):
                    return
                if self._parts is not parts:  # the model failed, and all jobs with it
                    break
            else:
                self._parts = None

    def _wait(self, epoch: int) -> Iterator[Part] | None:
        """Return the rest of a round, or the next round; None if this thread must end."""
        with self._lock:
            while epoch == self._epoch and not self._closed:
                if self._parts is not None:
                    return self._parts
                for job in self._admit(list(self._running)):
                    if job not in self._running:  # or more of its rows join
                        self._running[job] = Writing(self._model, job)
                if self._running:
                    self._parts = self._round([*self._running.values()])
                else:
                    self._changed.wait()
            return None

    def _round(self, writings: list[Writing]) -> Iterator[Part]:
        """Yield the parts of a round: a pass over prompts to score, and a step of all texts."""
        now, unscored = time.monotonic(), list[Writing]()
        for writing in writings:
            if writing.job.cancelled or now > writing.job.deadline:
                end = ApiError("the request took too long and was given up", 408, code="timeout")
                yield [writing], partial(setattr, writing, "end", end), 0
            elif not writing.is_scored:
                unscored.append(writing)
            elif writing.may_join:
                yield [writing], partial(writing.join, self._batch), 0
        if unscored:
            # In blocks, so that a long prompt doesn't hold up growing texts.
            is_writing = any(writing.parts for writing in writings)
            size = self._piece // (SHARE if is_writing else 1)
            first, *others = together(self._model, unscored, size)
            yield (
                [first],
                (partial(first.score_with, others) if others else partial(first.score, size)),
                size,
            )
        owners = {part.request: (each, part) for each in writings for part in each.parts}
        for turn in self._batch.turns():
            mine = [owners[each] for each in turn.requests if each in owners]
            if mine or not turn.requests:
                of_turn = [*dict.fromkeys(writing for writing, _ in mine)]
                yield of_turn, partial(_advance, mine, turn.run), turn.tokens

    def _do(
        self, writings: Sequence[Writing], work: Callable[[], object], tokens: int, epoch: int
    ) -> bool:
        """Do a part of a round; return False if this thread was replaced."""
        with self._lock:
            if epoch != self._epoch:
                return False
            now = time.monotonic()
            self._turn = Turn(writings, threading.current_thread(), now, 1 + tokens / STEP)
        fault: Exception | None = None
        try:
            work()
        except Exception as error:
            fault = error
        except BaseException as error:  # a plugin may raise anything, but this thread must continue
            fault = ended_by(error)
        ends = [
            (each, end)
            for each in writings
            if (end := each.end if fault is None else fault) is not None
        ]
        with self._lock:
            if epoch != self._epoch:
                return False
            self._turn, outcomes = None, [(each.job, end) for each, end in ends]
            if ends:
                self._take_out([each for each, _ in ends])
            elif fault is not None:
                outcomes = [(job, fault) for job in self._take_out(())]
        if outcomes or fault is not None:
            _report([end for _, end in ends] or [fault], "a request" if writings else "the model")
        # Last, so that the figures no longer count the rows of a client that has its answer.
        for job, event in outcomes:
            job.tell(job, event)
        if outcomes:
            self._left()
        return True


def _report(ends: Sequence[object], who: str) -> None:
    """Note the faults of requests, or of the model, in the log."""
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, ApiError):
            logger.warning("%s failed: %s", who, printable.shown(end))


def _advance(parts: Sequence[tuple[Writing, TextPart]], work: Callable[[], object]) -> None:
    """Do the work of a turn, and report the new pieces of its writings' parts."""
    work()
    for writing, part in parts:
        if writing.is_busy or part.request is None or part.request.is_finished:
            writing.advance(part)
