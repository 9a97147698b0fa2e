"""Answers on their way to clients: events from the models' threads, and bytes, written in turns."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from corelm_serve.answers import Call, Stream, encode
from corelm_serve.errors import ApiError
from corelm_serve.scheduling.jobs import Event, Job, Piece, Written
from corelm_serve.service import Service

BACKLOG = 2**16
"""Numbers, such as log-probabilities, that may wait for a client: some megabytes."""
AT_ONCE = 256
"""Numbers that are written for one client before others get their turn."""
TOO_SLOW = "the client reads more slowly than its texts are written, and was given up"
LONG = 1_024
"""Items of a list that are written at once."""
SLICE = 2**13
"""Bytes that are written before others get their turn: a few milliseconds at most."""

FEW = 8
"""Events that are written at once: a turn for others would take as long as to write one."""
MANY = dict, list, Iterator
"""The types of values that may be large."""
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
GONE = 499
"""The status in the log of a request whose client has gone."""


# ---- events ----


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
            ClientDisconnect: the client has closed its connection.
        """
        while not self._items or self._is_gone:
            if self._is_gone:
                raise ClientDisconnect
            await self._ready.wait()
            self._ready.clear()
        events, before = [], self._taken
        while self._items and self._taken - before < AT_ONCE:
            events.append(self._items.popleft())
            self._taken += size_of(events[-1][1])
        return events


def size_of(event: Event) -> int:
    """Return a measure of the memory that an event takes, and of the time to write it."""
    return event.size if isinstance(event, Piece) else 0


async def run(
    call: Call, service: Service, inbox: Inbox, receive: Receive
) -> AsyncGenerator[list[tuple[Job, Event]], None]:
    """Submit a request and yield its events, until each job has ended.

    The first end of a job is its last event: the stopping server and the thread of a model may
    both report one.

    Raises:
        ApiError: the request was refused.
        ClientDisconnect: the client has closed its connection; its jobs are dropped.
    """
    scheduler = service.schedulers[call.served.name]
    scheduler.submit(call.jobs)
    watch = asyncio.ensure_future(inbox.watch(receive))
    open_jobs = set(call.jobs)
    try:
        while open_jobs:
            open_events = []
            for job, event in await inbox.take():
                if job in open_jobs:
                    open_events.append((job, event))
                    if isinstance(event, (Written, BaseException)):
                        open_jobs.remove(job)
            yield open_events
    finally:
        watch.cancel()
        if open_jobs:
            scheduler.cancel([*open_jobs])


async def written(call: Call, service: Service, inbox: Inbox, receive: Receive) -> list[Written]:
    """Run a request and return the end of each of its jobs.

    Raises:
        ApiError, CorelmError: the first error of a job; the others are dropped.
        ClientDisconnect: the client has gone.
    """
    results: dict[Job, Written] = {}
    async with contextlib.aclosing(run(call, service, inbox, receive)) as batches:
        async for events in batches:
            for job, event in events:
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, Written):
                    results[job] = event
    return [results[job] for job in call.jobs]


# ---- bytes ----


def slices(document: Any) -> Iterator[bytes]:
    """Yield the JSON of a document in slices.

    Args:
        document: mappings and lists as for `json.dumps`; an iterator is written as a list.
    """
    return joined(part.encode() for part in parts(document))


def joined(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Join parts to slices of about `SLICE` bytes."""
    waiting, size = [], 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= SLICE:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def parts(value: Any) -> Iterator[str]:
    """Yield the JSON of a value, piece by piece."""
    if isinstance(value, dict) and any(isinstance(item, MANY) for item in value.values()):
        before = "{"
        for key, item in value.items():
            yield f"{before}{encode(key)}:"
            yield from parts(item)
            before = ","
        yield "}"
    elif isinstance(value, Iterator):
        yield from _listed(value)
    elif isinstance(value, list) and len(value) > LONG:
        for start in range(0, len(value), LONG):
            yield ("," if start else "[") + encode(value[start : start + LONG])[1:-1]
        yield "]"
    else:
        yield encode(value)


def _listed(items: Iterator[Any]) -> Iterator[str]:
    before = "["
    for item in items:
        yield before
        yield from parts(item)
        before = ","
    yield "[]" if before == "[" else "]"


class Turns:
    """Lets no answer keep others waiting for longer than a slice of it takes to write.

    Answers with log-probabilities take milliseconds a slice, since tokens get their names then.
    They are written in a thread, one slice at a time for all clients: a limiter serves those that
    wait in order, and the event loop never waits for more than one.
    """

    def __init__(self) -> None:
        self._one = anyio.CapacityLimiter(1)

    async def slices(self, slices: Iterator[bytes], *, slow: bool) -> AsyncIterator[bytes]:
        """Yield the slices of an answer, between which others get their turn.

        Args:
            slices: makes the slices.
            slow: make each in a thread.
        """
        while content := (
            await run_sync(next, slices, None, limiter=self._one) if slow else next(slices, None)
        ):
            yield content
            await asyncio.sleep(0)  # `send` waits for a slow client alone


def json_response(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a strict JSON document in ASCII."""
    return Response(encode(document), status, dict(headers or {}), JSON)


class SlicedResponse:
    """A JSON document that is written in slices; others get their turn between two of them.

    Args:
        document: as for `slices`.
        turns: of all answers.
        slow: the document takes long to write.
    """

    def __init__(self, document: Any, turns: Turns, *, slow: bool = False) -> None:
        self._slices = turns.slices(slices(document), slow=slow)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        first, second = await anext(self._slices), await anext(self._slices, None)
        if second is None:  # with its length
            await Response(first, media_type=JSON)(scope, receive, send)
            return
        gone = asyncio.ensure_future(receive())  # the request was read, so nothing else comes
        try:
            await send(_start(JSON))
            for content in (first, second):
                await _body(send, content)
            async for content in self._slices:
                if gone.done():
                    raise ClientDisconnect
                await _body(send, content)
            await _body(send, b"", more=False)
        finally:
            gone.cancel()


def error_response(error: ApiError) -> Response:
    """Return an error in OpenAI's shape."""
    return json_response(error.document, error.status, error.headers)


@dataclass
class EventResponse:
    """The events of a request, as they come.

    The events since the last write are written at once, up to a bound, so a slow client costs few
    writes, and no client keeps others waiting.

    Attributes:
        service: for the figures.
        call: the request.
        inbox: where its events come.
        turns: of all answers.
    """

    service: Service
    call: Call
    inbox: Inbox
    turns: Turns

    def __post_init__(self) -> None:
        self._stream, self._started = Stream(self.call), time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics = self.service.metrics
        try:
            async with contextlib.aclosing(
                run(self.call, self.service, self.inbox, receive)
            ) as batches:
                # Submitted before the first byte: a full queue is still a 429.
                first = await anext(batches)
                if isinstance(error := first[0][1], BaseException):  # it is the whole answer
                    raise error
                metrics.first.observe(time.monotonic() - self._started)
                await send(_start(EVENTS))
                await _body(send, b"".join(self._stream.begin()))
                await self._write(first, send)
                async for events in batches:
                    await self._write(events, send)
                self._count()  # before the last bytes: a client that has them finds its figures
                await _body(send, b"".join(self._stream.end()), more=False)
        except ClientDisconnect:
            self._count()

    def _count(self) -> None:
        name, prompt = self.call.served.name, self.call.prompt_tokens
        self.service.metrics.count(name, prompt, self._stream.drawn)

    async def _write(self, events: list[Any], send: Send) -> None:
        chunks = (chunk for job, event in events for chunk in self._stream.take(job, event))
        if len(events) <= FEW and not self.call.has_notes:  # less than a slice
            await _body(send, b"".join(chunks))
            return
        async for content in self.turns.slices(joined(chunks), slow=self.call.has_tables):
            await _body(send, content)


def _start(kind: str) -> dict[str, Any]:
    headers = [(b"content-type", kind.encode())]
    if kind == EVENTS:
        headers.append((b"x-accel-buffering", b"no"))  # nginx would collect some kilobytes first
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def _body(send: Send, content: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more})
