"""The lanes of a model, the queue before them, and the end of both."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from corelm import LanguageModel
from corelm.runs import PrefixCache
from corelm_serve.errors import ApiError
from corelm_serve.scheduling.jobs import Job
from corelm_serve.scheduling.lane import STOPPING, Lane
from corelm_serve.settings import Limits

RETRY_AFTER = 2
"""Seconds after which a refused client may ask again."""
LOOK = 0.25
"""Seconds between checks for steps that take too long."""


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
            return sum(map(len, self._waiting.values()))

    @property
    def running(self) -> int:
        """The number of rows in progress."""
        return sum(job.n for lane in self._lanes.values() for job in lane.jobs)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Add the jobs of a request to the queue.

        Raises:
            ApiError: too many wait already, or the server is stopping.
        """
        with self._lock:
            if self._closing:
                raise ApiError(STOPPING, 503, code="stopping")
            if sum(map(len, self._waiting.values())) >= self._limits.waiting:
                message = f"{self._limits.waiting} requests wait already; ask again later"
                headers = {"Retry-After": str(RETRY_AFTER)}
                raise ApiError(message, 429, code="busy", headers=headers)
            for job in jobs:
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
        """Return the jobs that join: in order of arrival, as long as their rows fit."""
        rows = sum(job.n for job in running)
        admitted: list[Job] = []
        with self._lock:
            queue = self._waiting[True]
            while queue and rows + queue[0].n <= self._limits.rows:
                admitted.append(queue.popleft())
                rows += admitted[-1].n
        return admitted

    def _admit_one(self, running: list[Job]) -> list[Job]:
        with self._lock:
            queue = self._waiting[False]
            return [queue.popleft()] if queue and not running else []

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
            message = "the request waited too long and was given up; ask again later"
            job.tell(job, ApiError(message, 503, code="timeout"))
