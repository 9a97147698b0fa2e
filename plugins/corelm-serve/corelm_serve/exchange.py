"""Between the threads of the models and the event loop: events, and clients that go."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

from starlette.types import Receive

from corelm_serve.answers import Call
from corelm_serve.events import ends
from corelm_serve.scheduling.jobs import Event, Job, Written
from corelm_serve.scheduling.scheduler import Scheduler


class ClientGoneError(Exception):
    """The client has closed its connection."""


class Inbox:
    """The events of one request: filled by the threads of a model, emptied in the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[tuple[Job, Event]] = deque()
        self._ready = asyncio.Event()
        self._signalled = False

    def tell(self, job: Job, event: Event) -> None:
        """Add an event. Called by any thread."""
        self._items.append((job, event))
        if not self._signalled:  # one wake-up for all events since the last look
            self._signalled = True
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                self._loop.call_soon_threadsafe(self._ready.set)

    async def take(self) -> list[tuple[Job, Event]]:
        """Wait for events and return them."""
        await self._ready.wait()
        self._ready.clear()
        self._signalled = False  # before emptying, so that no event is overlooked
        items = []
        while self._items:
            items.append(self._items.popleft())
        return items


async def disconnected(receive: Receive) -> None:
    """Wait until the client has gone; its body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def run(
    call: Call, scheduler: Scheduler, inbox: Inbox, receive: Receive
) -> AsyncGenerator[list[tuple[Job, Event]], None]:
    """Submit a request and yield its events, until each job has ended.

    Raises:
        ApiError: the request was refused.
        ClientGoneError: the client has closed its connection; its jobs are dropped.
    """
    scheduler.submit(call.jobs)
    gone = asyncio.ensure_future(disconnected(receive))
    open_jobs = len(call.jobs)
    try:
        while open_jobs:
            events = asyncio.ensure_future(inbox.take())
            await asyncio.wait((events, gone), return_when=asyncio.FIRST_COMPLETED)
            if not events.done():
                events.cancel()
                raise ClientGoneError
            found = events.result()
            open_jobs -= sum(ends(event) for _, event in found)
            yield found
    finally:
        gone.cancel()
        scheduler.cancel(call.jobs)


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
