"""The queues before the lanes of a model, the limits of a server, and how requests share rows."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from corelm import LanguageModel
from corelm.runs import PrefixCache
from corelm_serve.errors import ApiError
from corelm_serve.scheduling.jobs import Job
from corelm_serve.scheduling.lanes import Lane

STOPPING = "the server is stopping; ask again later"
LOOK = 0.25
"""Seconds between checks for steps that take too long."""
PORTIONS, SMALLEST = 8, 4
"""The portions in which rows are given out, and the least rows of one. Each reads the prompt."""
MOST = 4
"""The most rows that are written, as a multiple of the limit."""


OWN = ("corelm", "corelm_samplers", "corelm_grammar")
"""The packages whose samplers run in the step of all other requests."""
LANES = 16
"""The most lanes for requests with others' samplers or decoders; further kinds share one."""
HANGING = 3
"""The threads that may hang in a sampler before it is refused."""


class Kind(NamedTuple):
    """What the requests of a lane have in common.

    Attributes:
        is_ancestral: they have no other decoder.
        is_large: their steps take long; see `Job.is_costly`.
        strangers: the names of their samplers and decoders that aren't corelm's own.
    """

    is_ancestral: bool
    is_large: bool = False
    strangers: tuple[str, ...] = ()


def refusal_of(sampler: str, threads: int) -> str | None:
    """Return why a sampler is refused if this many threads hang in it; None if they are few."""
    if threads < HANGING:
        return None
    return f"{sampler} is refused: {HANGING} threads hang in it already"


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one client from using up the machine.

    Attributes:
        body: bytes of a request.
        prompt: tokens of a prompt.
        length: tokens drawn for a text.
        prompts: prompts in a request.
        total: tokens of all prompts of a request, and tokens drawn for all of its texts.
        entries: log-probabilities in an answer.
        rows: texts that a model writes at once, and texts of one prompt. Requests that would wait
            for larger ones are written too, up to four times as many texts in all.
        waiting: requests that wait for a model; more are refused with 429, but for those of a
            client with less than an equal share.
        seconds: the time of a request, from its arrival to its last token.
        stall: seconds that one step of one request may take before it is given up, and again that
            many for every 256 tokens of prompts that it reads.
        piece: tokens of a prompt that are read between two steps.
        prefixes: tokens of prompts that each model keeps, to read equal beginnings once.
        grace: seconds that running requests get to end when the server stops.
    """

    body: int = 2**20
    prompt: int = 32_768
    length: int = 4_096
    prompts: int = 128
    total: int = 2**18
    entries: int = 2**20
    rows: int = 64
    waiting: int = 256
    seconds: float = 600.0
    stall: float = 30.0
    piece: int = 512
    prefixes: int = 8_192
    grace: float = 10.0


class Shares:
    """The rows of a batch, as its clients and their requests share them.

    The next rows go to the client with the fewest, and of his requests to the one with the fewest.
    A request that came alone may have all rows; while others wait it counts as if it had no more
    than an equal share, so that they begin at once. Nothing depends on a clock.

    Args:
        rows: to share.
        running: the jobs that have some.
        waiting: the jobs that wait for some, in order of arrival.
    """

    def __init__(self, rows: int, running: Sequence[Job], waiting: Sequence[Job]) -> None:
        self._rows = rows
        self._portion = max(rows // PORTIONS, SMALLEST)
        self._of: dict[str, Counter[int]] = defaultdict(Counter)
        for job in waiting:
            self._of[job.client][job.request] += 0
        for job in running:
            self._of[job.client][job.request] += job.begun - job.ended

    def next(self, queue: Iterable[Job]) -> Job:
        """Return the job of a queue whose turn it is."""

        def rows_of(job: Job) -> tuple[int, int]:
            return self._of[job.client].total(), self._of[job.client][job.request]

        return min((job for job in queue if job.begun < job.rows), key=rows_of)

    def give(self, job: Job) -> int:
        """Give a job its next rows; return their number, 0 if there is no room."""
        requests = self._of[job.client]
        count = min(job.rows - job.begun, self._portion)
        rows = sum(each.total() for each in self._of.values())
        is_above = requests[job.request] + count > self._share(len(requests))
        is_full = rows + count > self._rows * MOST or self._counted() + count > self._rows
        if rows + count > self._rows and (is_above or is_full):
            return 0
        requests[job.request] += count
        return count

    def _counted(self) -> int:
        """Return the rows, those above a share left out."""
        of_client = self._share(len(self._of))
        return sum(
            min(sum(min(rows, self._share(len(each))) for rows in each.values()), of_client)
            for each in self._of.values()
        )

    def _share(self, count: int) -> int:
        """Return the rows of each of so many clients or requests."""
        return max(self._rows // count, self._portion)


class Scheduler:
    """The jobs of one model.

    Jobs with ancestral sampling are advanced together, up to a number of rows; those of another
    decoder run alone, one at a time, since their steps may be long. Requests with many texts or
    costly steps have a lane of their own, so that they don't hold up short texts. So have, with
    their like, jobs with a sampler or decoder that isn't corelm's own.

    Args:
        model: the language model.
        limits: the bounds.
    """

    def __init__(self, model: LanguageModel, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._lock = threading.Lock()
        self._waiting: defaultdict[Kind, deque[Job]] = defaultdict(deque)
        self._begun: set[Job] = set()  # those with ancestral sampling
        self._closing = False
        self._requests = 0  # so far
        self.prefixes = PrefixCache(limits.prefixes)
        """The prompts that were read before."""
        self._closed = threading.Event()
        self._lanes: dict[Kind, Lane] = {}
        for kind in (Kind(True), Kind(True, is_large=True), Kind(False)):
            self._lane_of(kind)
        threading.Thread(target=self._watch, name="corelm-serve-watch", daemon=True).start()

    def _lane_of(self, kind: Kind) -> Kind:
        """Return the kind of the lane for a kind of jobs, and open the lane if there is none."""
        if kind not in self._lanes:
            shared = Kind(kind.is_ancestral, strangers=("others",))
            if len(self._lanes) >= LANES and (kind := shared) in self._lanes:
                return kind
            limits, is_ancestral = self._limits, kind.is_ancestral
            few = PrefixCache(limits.prefixes // LANES if is_ancestral else 0)
            self._lanes[kind] = Lane(
                self._model,
                partial(self._admit, kind),
                self._wake_waiting,
                rows=limits.rows * MOST,
                piece=limits.piece,
                # A search yields its first step late.
                stall=limits.stall if is_ancestral else limits.seconds,
                prefixes=few if kind.strangers or not is_ancestral else self.prefixes,
            )
        return kind

    def _wake_waiting(self) -> None:
        """Wake the lanes that wait for rows, which others have left."""
        with self._lock:
            lanes = [self._lanes[kind] for kind, queue in self._waiting.items() if queue]
        for lane in lanes:
            lane.wake()

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        with self._lock:
            return self._count_waiting().total()

    def _count_waiting(self) -> Counter[str]:
        """Return the number of jobs of each client that wait."""
        return Counter(
            job.client for queue in self._waiting.values() for job in queue if not job.begun
        )

    @property
    def running(self) -> int:
        """The number of rows in progress."""
        return sum(job.begun - job.ended for lane in self._every_lane() for job in lane.jobs)

    def _every_lane(self) -> list[Lane]:
        return [*self._lanes.values()]  # another thread may open one

    def hanging(self) -> Counter[str | None]:
        """Return the number of threads that still hang in each sampler; None for the model."""
        abandoned = (each for lane in self._every_lane() for each in lane.abandoned)
        return Counter(name for thread, name in abandoned if thread.is_alive())

    def submit(self, jobs: Sequence[Job]) -> None:
        """Add the jobs of a request to the queue.

        Raises:
            ApiError: too many wait already, the server is stopping, or a sampler hangs too often.
        """
        kind, hanging = self._kind_of(jobs), self.hanging()
        for name in kind.strangers:
            if message := refusal_of(name, hanging[name]):
                raise ApiError(message, 503, param="sampler", code="sampler_hangs")
        with self._lock:
            if self._closing:
                raise ApiError(STOPPING, 503, code="stopping")
            waiting, most, client = self._count_waiting(), self._limits.waiting, jobs[0].client
            # A client with many requests is refused before the others.
            share = most // len({*waiting, client})
            if waiting.total() >= most and waiting[client] >= share:
                message = f"{most} requests wait already; ask again later"
                raise ApiError(message, 429, code="busy")
            self._requests, kind = self._requests + 1, self._lane_of(kind)
            for job in jobs:
                job.request = self._requests
                self._waiting[kind].append(job)
        self._lanes[kind].wake()

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Drop jobs whose client has gone: running jobs leave at their next step."""
        for job in jobs:
            job.cancelled = True
        with self._lock:
            for kind, queue in self._waiting.items():
                self._waiting[kind] = deque(job for job in queue if not job.cancelled)
        for lane in self._every_lane():
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
        for lane in self._every_lane():
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
        for lane in self._every_lane():
            lane.close()

    def _admit(self, kind: Kind, running: list[Job]) -> list[Job]:
        """Begin rows of waiting jobs, as long as there is room; return these jobs."""
        with self._lock:
            queue = self._waiting[kind]
            if not queue:
                return []
            for job in [job for job in queue if job.cancelled]:
                queue.remove(job)
            if kind.is_ancestral:
                return self._admit_rows(queue)
            admitted = [] if running or not queue else [queue.popleft()]
            for job in admitted:
                job.begun = job.rows
            return admitted

    def _admit_rows(self, queue: deque[Job]) -> list[Job]:
        admitted: dict[Job, None] = {}
        self._begun = {job for job in self._begun if not job.cancelled}
        others = [job for kind, jobs in self._waiting.items() if kind.is_ancestral for job in jobs]
        shares = Shares(self._limits.rows, [*self._begun], others)
        while queue and (count := shares.give(job := shares.next(queue))):
            job.begun += count
            admitted[job] = None
            if job.begun == job.rows:
                queue.remove(job)
        self._begun |= admitted.keys()
        return [*admitted]

    def _watch(self) -> None:
        while not self._closed.wait(LOOK):
            for lane in self._every_lane():
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

    def _kind_of(self, jobs: Sequence[Job]) -> Kind:
        job, rows = jobs[0], sum(job.rows for job in jobs)
        decoder = job.strategy.decoder
        strangers = {
            part.name
            for part in (*job.strategy.sampler.parts(), *([decoder] if decoder else []))
            if type(part).__module__.partition(".")[0] not in OWN
        }
        if strangers or not job.is_ancestral:
            return Kind(job.is_ancestral, strangers=tuple(sorted(strangers)))
        portion = max(self._limits.rows // PORTIONS, SMALLEST)
        return Kind(True, is_large=rows > portion or job.is_costly)
