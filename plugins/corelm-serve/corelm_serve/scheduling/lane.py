"""A thread that advances its jobs together, one step of each in a round."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from corelm import CorelmError, LanguageModel, Sampler
from corelm.batching import SharedSession
from corelm_serve.errors import ApiError, line_of
from corelm_serve.scheduling.jobs import Job
from corelm_serve.scheduling.rows import draw_together
from corelm_serve.scheduling.writing import Writing

logger = logging.getLogger("corelm.serve")

STOPPING = "the server is stopping; ask again later"


@dataclass(eq=False)
class Turn:
    """Work in progress: the step of a job, or of the model for all of them if it is None."""

    job: Job | None
    thread: int
    started: float


class Lane:
    """A thread that advances its jobs in rounds.

    In a round the model computes the logits of all rows in one call, and then each job draws its
    tokens; jobs with equal simple chains draw together, and their texts are taken while the model
    goes on. Work that takes longer than `stall` is given up: its job fails, and a new thread
    continues with the others. The old one is left alone; what it still computes is thrown away.

    Args:
        model: the language model.
        admit: returns the next jobs, given those that run.
        stall: seconds that a step may take.
        piece: the largest number of tokens of prompts to read in a round.
    """

    def __init__(
        self,
        model: LanguageModel,
        admit: Callable[[list[Job]], list[Job]],
        stall: float,
        piece: int,
    ) -> None:
        self._model, self._admit, self.stall, self._piece = model, admit, stall, piece
        self._running: dict[Job, Writing] = {}
        self._shared = SharedSession()
        self.changed = threading.Condition()
        self._turn: Turn | None = None
        # A round: jobs that have not had their turn before the model goes on, and after that.
        self._round: deque[Job] | None = None  # None between two rounds
        self._late: deque[Job] = deque()
        self._went_on = False
        self._epoch = 0
        self._closed = False
        self.steps = 0
        """The number of steps so far."""
        self._start()

    @property
    def jobs(self) -> list[Job]:
        """The jobs that run."""
        with self.changed:
            return list(self._running)

    def wake(self) -> None:
        """Look for new jobs, and for cancelled ones."""
        with self.changed:
            self.changed.notify_all()

    def close(self) -> None:
        """End the thread after the step in progress."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def watch(self) -> None:
        """Give up work that takes too long. Called by another thread, now and then."""
        with self.changed:
            turn = self._turn
            if turn is None or time.monotonic() - turn.started < self.stall:
                return
            message = f"{_culprit(turn.thread)} took more than {self.stall:g} seconds for one step"
            self._epoch += 1
            self._turn = None
            if turn.job is None:  # the rows of all jobs are lost in the old thread's call
                failed = list(self._running)
                self._restart()
            else:
                failed = [turn.job]
                del self._running[turn.job]
            self._start()
        logger.warning("%s; %d requests were given up", message, len(failed))
        for job in failed:
            job.tell(job, ApiError(message, 500, code="stalled"))

    # ---- the thread ----

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, args=(self._epoch,), name="corelm-serve", daemon=True
        )
        thread.start()

    def _restart(self) -> None:
        self._running.clear()
        self._round, self._late, self._shared = None, deque(), SharedSession()

    def _run(self, epoch: int) -> None:
        while self._wait(epoch):
            # A thread that replaces another one goes on with its round.
            if self._round is None and not self._begin(epoch):
                return
            if not self._turns(self._round, epoch):
                return
            if not self._went_on and not self._go_on(epoch):
                return
            if not self._turns(self._late, epoch):
                return
            with self.changed:
                if epoch == self._epoch:
                    self._round = None

    def _turns(self, jobs: deque[Job] | None, epoch: int) -> bool:
        """Do a step of each job; return False if this thread was replaced."""
        while jobs:
            if not self._advance(jobs.popleft(), epoch):
                return False
        return True

    def _wait(self, epoch: int) -> bool:
        """Wait for something to do; return False if this thread has ended."""
        with self.changed:
            while epoch == self._epoch and not self._closed:
                if self._running and self._round is not None:
                    return True  # the round of a thread that this one replaces
                self._round = None
                for job in self._admit(list(self._running)):
                    self._running[job] = Writing(self._model, job, self._piece, self._shared)
                if self._running:
                    return True
                self.changed.wait()
            return False

    def _begin(self, epoch: int) -> bool:
        """Begin a round; return False if this thread was replaced."""
        if not self._by_model(self._draw, epoch):
            return False
        with self.changed:
            if epoch != self._epoch:
                return False
            self._round, self._late, self._went_on = deque(), deque(), False
            left = self._piece
            for job, writing in self._running.items():
                if writing.rows is not None and writing.rows.is_drawn:
                    self._late.append(job)
                    continue
                # One piece at least, or a prompt of one large piece would wait forever.
                if not writing.reads or writing.reads <= left or left == self._piece:
                    self._round.append(job)
                    left -= writing.reads
        return True

    def _draw(self) -> None:
        """Compute the logits of all rows, and draw the tokens of jobs with equal simple chains."""
        self._shared.compute()
        with self.changed:
            found = [writing.rows for writing in self._running.values()]
        rows = [each for each in found if each is not None and each.is_shared]
        try:
            draw_together(self._shared, rows)
        except CorelmError as error:  # each draws alone, and fails by itself
            logger.info("jobs could not be drawn together: %s", line_of(error))

    def _go_on(self, epoch: int) -> bool:
        """Give the model the tokens; return False if this thread was replaced."""
        with self.changed:
            views = [writing.view for writing in self._running.values() if writing.view]
        if not self._by_model(lambda: self._shared.advance(views), epoch):
            return False
        with self.changed:
            if epoch == self._epoch:
                self._went_on = True
        return True

    def _by_model(self, work: Callable[[], None], epoch: int) -> bool:
        """Let the model work for all jobs; return False if this thread was replaced."""
        if not self._take_turn(None, epoch):
            return False
        failure: Exception | None = None
        try:
            work()
        except Exception as error:
            failure = error
        with self.changed:
            if epoch != self._epoch:
                return False
            self._turn = None
            failed = list(self._running) if failure else []
            if failure:
                self._restart()
        if failure:
            logger.error("the model failed: %s", line_of(failure))
        for job in failed:
            job.tell(job, failure)  # type: ignore[arg-type]
        return True

    def _advance(self, job: Job, epoch: int) -> bool:
        """Do one step of a job; return False if this thread was replaced."""
        if not self._take_turn(job, epoch):
            return False
        writing = self._running.get(job)
        outcome = None if writing is None else _step(job, writing)
        with self.changed:
            if epoch != self._epoch:
                return False
            self._turn = None
            self.steps += 1
            if outcome is not None:
                self._running.pop(job, None)
        if outcome is not None and writing is not None:
            _close(writing.steps)
        if isinstance(outcome, BaseException):
            job.tell(job, outcome)
        return True

    def _take_turn(self, job: Job | None, epoch: int) -> bool:
        with self.changed:
            if epoch != self._epoch:
                return False
            self._turn = Turn(job, threading.get_ident(), time.monotonic())
            return True


DONE = object()


def _step(job: Job, writing: Writing) -> Any:
    """Do a step; return None, `DONE` at the end, or the error that ends the job."""
    if job.cancelled:
        return DONE
    if job.is_late:
        return ApiError("the request took too long and was given up", 408, code="timeout")
    try:
        next(writing.steps)
    except StopIteration:
        return DONE
    except Exception as error:
        logger.warning("a request failed: %s", line_of(error))
        return error
    return None


def _close(steps: Any) -> None:
    """Close a generator; a plugin's cleanup may fail, which concerns nobody else."""
    try:
        steps.close()
    except Exception as error:
        logger.warning("a request failed when it ended: %s", line_of(error))


def _culprit(thread: int) -> str:
    """Return the sampler that a thread is in, or the model."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Sampler):
            return f"the sampler {found.name}"
        frame = frame.f_back
    return "the model or the decoder"
