"""Between the threads of the models and the event loop: events, and clients that disconnect."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

from starlette.types import Receive

from corelm_serve.answers import Call
from corelm_serve.errors import ApiError
from corelm_serve.scheduling.jobs import Event, Job, Piece, Written
from corelm_serve.scheduling.scheduler import Scheduler

BACKLOG = 2**16
"""Numbers, such as log-probabilities, that may wait for a client: some megabytes."""
AT_ONCE = 256
"""Numbers that are written for one client before others get their turn."""
TOO_SLOW = "the client reads more slowly than its texts are written, and was given up"


class ClientGoneError(Exception):
    """The client has closed its connection."""


class Wakeups:
    """Wakes the event loop once for all events that the threads of the models have for it.

    A call for each event would cost a system call, during which the thread loses the interpreter
    to the event loop: with 64 streams, 64 times in a step of the model.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Event] = deque()
        self._is_called = False

    def wake(self, ready: asyncio.Event) -> None:
        """Set an event in the event loop. Called by any thread."""
        self._waiting.append(ready)
        if not self._is_called:
            self._is_called = True
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        self._is_called = False  # before emptying, so that no event is overlooked
        while self._waiting:
            self._waiting.popleft().set()


class Inbox:
    """The events of one request: filled by the threads of a model, emptied in the event loop.

    A client that reads more slowly than its texts grow is given up when `BACKLOG` numbers wait
    for it; it gets what waits, and an error.

    Args:
        wakeups: wakes the event loop.
    """

    def __init__(self, wakeups: Wakeups) -> None:
        self._wakeups = wakeups
        self._items: deque[tuple[Job, Event]] = deque()
        self._ready = asyncio.Event()
        self._is_gone = False
        # Each written by one side alone, so that none needs a lock.
        self._added = self._taken = 0

    def tell(self, job: Job, event: Event) -> None:
        """Add an event. Called by any thread."""
        self._added += size_of(event)
        if self._added - self._taken > BACKLOG and not job.cancelled:
            job.cancelled = True  # leaves at its next step
            event = ApiError(TOO_SLOW, 408, code="slow_reader")
        self._items.append((job, event))
        self._wakeups.wake(self._ready)

    async def watch(self, receive: Receive) -> None:
        """Wait until the client has gone, and note it; its body has been read before."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self._ready.set()

    async def take(self) -> list[tuple[Job, Event]]:
        """Wait for events and return some, as many as are written at once.

        Raises:
            ClientGoneError: the client has closed its connection.
        """
        while not self._items or self._is_gone:
            if self._is_gone:
                raise ClientGoneError
            await self._ready.wait()
            self._ready.clear()
        found, before = [], self._taken
        while self._items and self._taken - before < AT_ONCE:
            found.append(self._items.popleft())
            self._taken += size_of(found[-1][1])
        return found


def size_of(event: Event) -> int:
    """Return a measure of the memory that an event takes, and of the time to write it."""
    return event.size if isinstance(event, Piece) else 0


async def run(
    call: Call, scheduler: Scheduler, inbox: Inbox, receive: Receive
) -> AsyncGenerator[list[tuple[Job, Event]], None]:
    """Submit a request and yield its events, until each job has ended.

    The first end of a job is its last event: the stopping server and the thread of a model may
    both report one.

    Raises:
        ApiError: the request was refused.
        ClientGoneError: the client has closed its connection; its jobs are dropped.
    """
    scheduler.submit(call.jobs)
    watch = asyncio.ensure_future(inbox.watch(receive))
    open_jobs = set(call.jobs)
    try:
        while open_jobs:
            found = []
            for job, event in await inbox.take():
                if job in open_jobs:
                    found.append((job, event))
                    if ends(event):
                        open_jobs.remove(job)
            yield found
    finally:
        watch.cancel()
        if open_jobs:
            scheduler.cancel([*open_jobs])


async def written(
    call: Call, scheduler: Scheduler, inbox: Inbox, receive: Receive
) -> list[Written]:
    """Run a request and return the end of each of its jobs.

    Raises:
        ApiError, CorelmError: the first error of a job; the others are dropped.
        ClientGoneError: the client has gone.
    """
    found: dict[Job, Written] = {}
    async with contextlib.aclosing(run(call, scheduler, inbox, receive)) as batches:
        async for events in batches:
            for job, event in events:
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, Written):
                    found[job] = event
    return [found[job] for job in call.jobs]


def ends(what: Event) -> bool:
    """Return True if an event is the last of its job."""
    return isinstance(what, (Written, BaseException))
