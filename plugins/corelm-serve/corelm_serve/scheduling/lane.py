"""A thread that advances its jobs in turn, one step of each."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from corelm import LanguageModel, Sampler
from corelm_serve.errors import ApiError, line_of
from corelm_serve.scheduling.jobs import Job, Piece
from corelm_serve.scheduling.writing import write

logger = logging.getLogger("corelm.serve")

STOPPING = "the server is stopping; ask again later"


@dataclass(eq=False)
class Turn:
    """The step of a job in progress."""

    job: Job
    thread: int
    started: float


class Lane:
    """A thread that advances its jobs in turn.

    A step that takes longer than `stall` is given up: its job fails, and a new thread goes on with
    the others. The old one is left alone; what it still computes is thrown away.

    Args:
        model: the language model.
        admit: returns the next jobs, given those that run.
        stall: seconds that a step may take.
        piece: the largest number of tokens of a prompt to read at a time.
    """

    def __init__(
        self,
        model: LanguageModel,
        admit: Callable[[list[Job]], list[Job]],
        stall: float,
        piece: int,
    ) -> None:
        self._model, self._admit, self.stall, self._piece = model, admit, stall, piece
        self._running: dict[Job, Iterator[list[Piece]]] = {}
        self.changed = threading.Condition()
        self._turn: Turn | None = None
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

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, args=(self._epoch,), name="corelm-serve", daemon=True
        )
        thread.start()

    def _run(self, epoch: int) -> None:
        while self._wait(epoch):
            for job in self.jobs:
                if not self._advance(job, epoch):
                    return

    def _wait(self, epoch: int) -> bool:
        """Wait for something to do; return False if this thread has ended."""
        with self.changed:
            while epoch == self._epoch and not self._closed:
                for job in self._admit(list(self._running)):
                    self._running[job] = write(self._model, job, self._piece)
                if self._running:
                    return True
                self.changed.wait()
            return False

    def _advance(self, job: Job, epoch: int) -> bool:
        """Do one step of a job; return False if this thread was replaced meanwhile."""
        with self.changed:
            if epoch != self._epoch:
                return False
            steps = self._running[job]
            self._turn = Turn(job, threading.get_ident(), time.monotonic())
        outcome = _step(job, steps)
        with self.changed:
            if epoch != self._epoch:
                return False
            self._turn = None
            self.steps += 1
            if outcome is not None:
                del self._running[job]
        if outcome is not None:
            _close(steps)
            if isinstance(outcome, BaseException):
                job.tell(job, outcome)
        return True

    def watch(self) -> None:
        """Give up a step that takes too long. Called by another thread, now and then."""
        with self.changed:
            turn = self._turn
            if turn is None or time.monotonic() - turn.started < self.stall:
                return
            culprit = _culprit(turn.thread)
            self._epoch += 1
            self._turn = None
            del self._running[turn.job]
            self._start()
        message = f"{culprit} took more than {self.stall:g} seconds for one step"
        logger.warning("%s; the request was given up", message)
        turn.job.tell(turn.job, ApiError(message, 500, code="stalled"))


DONE = object()


def _step(job: Job, steps: Iterator[list[Piece]]) -> Any:
    """Do a step; return None, `DONE` at the end, or the error that ends the job."""
    if job.cancelled:
        return DONE
    if job.is_late:
        return ApiError("the request took too long and was given up", 408, code="timeout")
    try:
        for piece in next(steps):
            job.tell(job, piece)
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
