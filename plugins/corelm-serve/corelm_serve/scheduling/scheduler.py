"""The lanes of a model, threads that advance its jobs; the queue before them; the end of both."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from corelm import LanguageModel
from corelm.runs import ContinuousBatch, PrefixCache, printable
from corelm_serve.errors import ApiError, culprit, ended_by
from corelm_serve.scheduling import MOST, Limits, Shares
from corelm_serve.scheduling.jobs import Job, TextPart, Writing
from corelm_serve.scoring import together

logger = logging.getLogger("corelm.serve")

STOPPING = "the server is stopping; ask again later"

SHARE = 8
"""The part of the tokens that are otherwise read or scored at once, while texts wait for their next
token."""

STEP = 256
"""The tokens of a prompt that may take as long to read as a step."""

Part = tuple[Sequence[Writing], Callable[[], object], int]
"""A part of a round: the writings that it belongs to (none for all of them), the work, and the most
tokens of prompts that it reads."""
RETRY_AFTER = 2
"""Seconds after which a refused client may ask again."""
LOOK = 0.25
"""Seconds between checks for steps that take too long."""


@dataclass(eq=False)
class Turn:
    """Work in progress."""

    writings: Sequence[Writing]
    thread: int
    started: float
    steps: float


class Lane:
    """A thread that advances its jobs in rounds; a round is a step of a `ContinuousBatch`.

    Work that takes longer than `stall` is given up: its job fails, and a new thread continues with
    the others. The old one is left alone; what it still computes is thrown away.

    Args:
        model: the language model.
        admit: takes the running jobs and returns those of which rows may begin.
        limits: the bounds.
        stall: seconds that a part of a round may take.
        prefixes: the prompts that were read before.
    """

    def __init__(
        self,
        model: LanguageModel,
        admit: Callable[[list[Job]], list[Job]],
        limits: Limits,
        stall: float,
        prefixes: PrefixCache,
    ) -> None:
        self._model, self._admit, self._limits = model, admit, limits
        self._stall, self._prefixes = stall, prefixes
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
            name = culprit(sys._current_frames().get(turn.thread))
            message = f"{name} took more than {seconds:g} seconds for one step"
            self._epoch += 1
            # If a call of the model doesn't return, the rows of all jobs are lost.
            failed = self._take_out(turn.writings)
            self._start()
        logger.warning("%s; %d requests were given up", message, len(failed))
        for job in failed:
            job.tell(job, ApiError(message, 500, code="stalled"))

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, args=(self._epoch,), name="corelm-serve", daemon=True
        )
        thread.start()

    def _new_batch(self) -> ContinuousBatch:
        # What is admitted begins at once: the queue before the lane has the rows' limit.
        rows, piece = self._limits.rows * MOST, self._limits.piece
        return ContinuousBatch(self._model, rows, piece, self._prefixes, again=piece // SHARE)

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
            size = self._limits.piece // (SHARE if is_writing else 1)
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
            self._turn = Turn(writings, threading.get_ident(), now, 1 + tokens / STEP)
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


class Scheduler:
    """The jobs of one model.

    Jobs with ancestral sampling are advanced together, up to a number of rows; jobs with another
    decoder run alone, one at a time, since their steps may be long.

    Args:
        model: the language model.
        limits: the bounds.
    """

    def __init__(self, model: LanguageModel, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._waiting: dict[bool, deque[Job]] = {True: deque(), False: deque()}
        self._closing = False
        self._requests = 0  # so far
        self.prefixes = PrefixCache(limits.prefixes)
        """The prompts that were read before."""
        self._closed = threading.Event()
        self._lanes = {
            True: Lane(model, self._admit_rows, limits, limits.stall, self.prefixes),
            # A separate lane, as a search yields its first step late.
            False: Lane(model, self._admit_one, limits, limits.seconds, PrefixCache(0)),
        }
        threading.Thread(target=self._watch, name="corelm-serve-watch", daemon=True).start()

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        with self._lock:
            return self._count_waiting()

    def _count_waiting(self) -> int:
        return sum(not job.begun for queue in self._waiting.values() for job in queue)

    @property
    def running(self) -> int:
        """The number of rows in progress."""
        return sum(job.begun - job.ended for lane in self._lanes.values() for job in lane.jobs)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Add the jobs of a request to the queue.

        Raises:
            ApiError: too many wait already, or the server is stopping.
        """
        with self._lock:
            if self._closing:
                raise ApiError(STOPPING, 503, code="stopping")
            if self._count_waiting() >= self._limits.waiting:
                message = f"{self._limits.waiting} requests wait already; ask again later"
                headers = {"Retry-After": str(RETRY_AFTER)}
                raise ApiError(message, 429, code="busy", headers=headers)
            self._requests += 1
            for job in jobs:
                job.request = self._requests
                self._waiting[job.is_ancestral].append(job)
        for kind in {job.is_ancestral for job in jobs}:
            self._lanes[kind].wake()

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Drop jobs whose client has gone: running jobs leave at their next step."""
        for job in jobs:
            job.cancelled = True
        with self._lock:
            for kind, queue in self._waiting.items():
                self._waiting[kind] = deque(job for job in queue if not job.cancelled)
        for lane in self._lanes.values():
            lane.wake()

    def stop(self) -> None:
        """Take no new requests, and refuse the waiting ones."""
        with self._lock:
            self._closing = True
            waiting = [job for queue in self._waiting.values() for job in queue]
            for queue in self._waiting.values():
                queue.clear()
        for job in waiting:
            job.tell(job, ApiError(STOPPING, 503, code="stopping"))
            job.cancelled = True

    def end(self) -> None:
        """End the jobs that still run with an error."""
        for lane in self._lanes.values():
            for job in lane.jobs:
                if not job.cancelled:
                    job.tell(job, ApiError(STOPPING, 503, code="stopping"))
                    job.cancelled = True
            lane.wake()

    def close(self) -> None:
        """End the threads."""
        self.stop()
        self.end()
        self._closed.set()
        for lane in self._lanes.values():
            lane.close()

    def _admit_rows(self, running: list[Job]) -> list[Job]:
        """Begin rows of waiting jobs, as long as there is room; return these jobs."""
        admitted: dict[Job, None] = {}
        with self._lock:
            queue = self._waiting[True]
            if queue:
                queue = deque(job for job in queue if not job.cancelled)
                shares = Shares(self._limits.rows, running, queue)
            while queue and (count := shares.give(job := shares.next())):
                job.begun += count
                admitted[job] = None
                if job.begun == job.rows:
                    queue.remove(job)
            self._waiting[True] = queue
        return [*admitted]

    def _admit_one(self, running: list[Job]) -> list[Job]:
        with self._lock:
            queue = self._waiting[False]
            if running or not queue:
                return []
            job = queue.popleft()
            job.begun = job.rows
            return [job]

    def _watch(self) -> None:
        while not self._closed.wait(LOOK):
            for lane in self._lanes.values():
                lane.watch()
            self._expire()

    def _expire(self) -> None:
        """Fail jobs that are still waiting past their deadline."""
        now = time.monotonic()
        with self._lock:
            late = [job for queue in self._waiting.values() for job in queue if job.deadline < now]
            for kind, queue in self._waiting.items():
                self._waiting[kind] = deque(job for job in queue if job.deadline >= now)
        for job in late:
            if job.begun:  # its lane gives it up
                continue
            message = "the request waited too long and was given up; ask again later"
            job.tell(job, ApiError(message, 503, code="timeout"))
