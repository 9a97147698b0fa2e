"""Responses: JSON, errors, and streams of events."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from corelm_serve.answers import Call
from corelm_serve.errors import ApiError
from corelm_serve.events import Stream
from corelm_serve.exchange import ClientGoneError, Inbox, run
from corelm_serve.scheduling.scheduler import Scheduler
from corelm_serve.service import Service

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
}
GONE = 499
"""The status in the log of a request whose client has gone."""


def json_response(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a strict JSON document in ASCII."""
    content = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return Response(content, status, dict(headers or {}), "application/json")


def error_response(error: ApiError) -> Response:
    """Return an error in OpenAI's shape."""
    return json_response(error.document, error.status, error.headers)


class EventResponse:
    """The events of a request, as they come.

    All events since the last write are written at once, so a slow client costs few writes.

    Args:
        service: for the figures.
        call: the request.
        scheduler: the scheduler of its model.
        inbox: where its events come.
        stream: makes the chunks.
    """

    def __init__(
        self,
        service: Service,
        call: Call,
        scheduler: Scheduler,
        inbox: Inbox,
        stream: Stream,
    ) -> None:
        self._service, self._call, self._scheduler = service, call, scheduler
        self._inbox, self._stream = inbox, stream
        self._started = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with contextlib.aclosing(
                run(self._call, self._scheduler, self._inbox, receive)
            ) as batches:
                # Submitted before the first byte: a full queue is still a 429.
                first = await anext(batches)
                self._service.metrics.first.observe(time.monotonic() - self._started)
                await send(START)
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
        chunks = [chunk for job, event in events for chunk in self._stream.take(job, event)]
        if chunks:
            await _body(send, b"".join(chunks))


async def _body(send: Send, content: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more})


def count_tokens(service: Service, call: Call, drawn: int) -> None:
    """Count the tokens of a request."""
    tokens = service.metrics.tokens
    tokens.labels(call.served.name, "prompt").inc(call.prompt_tokens)
    tokens.labels(call.served.name, "drawn").inc(drawn)
