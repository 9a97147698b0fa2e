"""Responses: JSON, errors, and streams of events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from corelm_serve.answers import Call
from corelm_serve.errors import ApiError
from corelm_serve.events import Stream
from corelm_serve.exchange import ClientGoneError, Inbox, run
from corelm_serve.json_parts import encode, joined, slices
from corelm_serve.scheduling.scheduler import Scheduler
from corelm_serve.service import Service
from corelm_serve.turns import Turns

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
GONE = 499
"""The status in the log of a request whose client has gone."""


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
                    raise ClientGoneError
                await _body(send, content)
            await _body(send, b"", more=False)
        finally:
            gone.cancel()


def error_response(error: ApiError) -> Response:
    """Return an error in OpenAI's shape."""
    return json_response(error.document, error.status, error.headers)


class EventResponse:
    """The events of a request, as they come.

    The events since the last write are written at once, up to a bound, so a slow client costs few
    writes, and no client keeps others waiting.

    Args:
        service: for the figures.
        call: the request.
        scheduler: the scheduler of its model.
        inbox: where its events come.
        stream: makes the chunks.
        turns: of all answers.
    """

    def __init__(
        self,
        service: Service,
        call: Call,
        scheduler: Scheduler,
        inbox: Inbox,
        stream: Stream,
        turns: Turns,
    ) -> None:
        self._service, self._call, self._scheduler = service, call, scheduler
        self._inbox, self._stream, self._turns = inbox, stream, turns
        self._started = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with contextlib.aclosing(
                run(self._call, self._scheduler, self._inbox, receive)
            ) as batches:
                # Submitted before the first byte: a full queue is still a 429.
                first = await anext(batches)
                self._service.metrics.first.observe(time.monotonic() - self._started)
                await send(_start(EVENTS))
                await _body(send, b"".join(self._stream.begin()))
                await self._write(first, send)
                async for events in batches:
                    await self._write(events, send)
                self._count()  # before the last bytes: a client that has them finds its figures
                await _body(send, b"".join(self._stream.end()), more=False)
        except ClientGoneError:
            self._count()

    def _count(self) -> None:
        count_tokens(self._service, self._call, self._stream.drawn)

    async def _write(self, events: list[Any], send: Send) -> None:
        chunks = (chunk for job, event in events for chunk in self._stream.take(job, event))
        async for content in self._turns.slices(joined(chunks), slow=self._call.has_tables):
            await _body(send, content)


def _start(kind: str) -> dict[str, Any]:
    headers = [(b"content-type", kind.encode())]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def _body(send: Send, content: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more})


def count_tokens(service: Service, call: Call, drawn: int) -> None:
    """Count the tokens of a request."""
    tokens = service.metrics.tokens
    tokens.labels(call.served.name, "prompt").inc(call.prompt_tokens)
    tokens.labels(call.served.name, "drawn").inc(drawn)
