"""Responses: JSON in slices, errors, and streams of events, written in turns."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from corelm import TokenRecord
from corelm_serve.answers import Call, about_tokens, reason_of
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.exchange import ClientGoneError, Inbox, run
from corelm_serve.rollouts import SETS, rollout
from corelm_serve.scheduling.jobs import Event, Job, Piece
from corelm_serve.scheduling.scheduler import Scheduler
from corelm_serve.scoring import Scores
from corelm_serve.service import Service
from corelm_serve.tables import Column
from corelm_serve.tool_calls import CallReader

LONG = 1_024
"""Items of a list that are written at once."""
SLICE = 2**13
"""Bytes that are written before others get their turn: a few milliseconds at most."""

MANY = dict, list, Iterator
"""The types of values that may be large."""
END = b"data: [DONE]\n\n"
ECHOED = 64
"""Tokens of an echoed prompt in one chunk: their likely tokens are named one after the other."""
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
GONE = 499
"""The status in the log of a request whose client has gone."""


def _list(value: Any) -> list[Any]:
    if isinstance(value, Iterator):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


# Kept, since `json.dumps` with separators makes an encoder for each call.
encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_list).encode
"""Return a value as strict JSON in ASCII; an iterator is written as a list."""


def slices(document: Any) -> Iterator[bytes]:
    """Yield the JSON of a document in slices.

    Args:
        document: mappings and lists as for `json.dumps`; an iterator is written as a list.
    """
    return joined(part.encode() for part in parts(document))


def joined(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Join parts to slices of about `SLICE` bytes."""
    found, size = [], 0
    for part in parts:
        found.append(part)
        size += len(part)
        if size >= SLICE:
            yield b"".join(found)
            found, size = [], 0
    if found:
        yield b"".join(found)


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
        while content := await self._next(slices, slow):
            yield content
            await asyncio.sleep(0)  # `send` waits for a slow client alone

    async def _next(self, slices: Iterator[bytes], slow: bool) -> bytes | None:
        if slow:
            return await run_sync(next, slices, None, limiter=self._one)
        return next(slices, None)


class Stream:
    """The chunks of an answer, as server-sent events.

    Args:
        call: the request.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._start = f"data: {encode(call.head)[:-1]},"  # alike in all chunks
        self._rest: dict[str, Any] = {"usage": None} if call.usage else {}
        self._columns: dict[tuple[int, int], Column] = {}
        self._readers: dict[tuple[int, int], CallReader] = {}
        self._begun = set[tuple[int, int]]()  # texts whose first part of a rollout was sent
        self._costs: defaultdict[tuple[int, int], float] = defaultdict(float)
        self._is_first = True
        self.drawn = 0
        """The tokens drawn so far."""

    def begin(self) -> Iterator[bytes]:
        """Yield the first chunks: who speaks, and prompts to echo."""
        if self._call.is_chat:  # the first chunk of each choice says who speaks
            delta = {"role": "assistant", "content": ""}
            yield self._chunk(
                [self._bare(job, i, delta) for job in self._call.jobs for i in range(job.n)]
            )
        if self._call.echo:
            for job in self._call.jobs:
                if not job.scored:
                    yield from self._echo(job, None)

    def take(self, job: Job, what: Event) -> Iterator[bytes]:
        """Yield the chunks of an event."""
        if isinstance(what, Piece):
            self.drawn += len(what.entropies)
            yield self._chunk([self._choice(job, what)])
        elif isinstance(what, Scores):
            yield from self._echo(job, what)
        elif isinstance(what, BaseException):
            yield f"data: {encode(as_api_error(what).document)}\n\n".encode()

    def end(self) -> Iterator[bytes]:
        """Yield the last chunks."""
        if self._call.usage:
            yield self._chunk([], usage=self._call.usage_of(self.drawn))
        yield END

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        if self._is_first:  # with a choice, which clients read without looking
            more, self._is_first = {**more, "corelm": self._call.about}, False
        members = encode({"choices": choices, **self._rest, **more})
        return f"{self._start}{members[1:]}\n\n".encode()

    def _echo(self, job: Job, scores: Scores | None) -> Iterator[bytes]:
        text = self._call.prompts[job.index]
        if scores is None or not job.ids:
            for sample in range(job.n):
                yield self._chunk([self._bare(job, sample, text)])
            return
        column = Column(self._call.served.model.vocabulary, job.ids)
        column.add_prompt(scores, text)
        for sample in range(job.n):
            for part in column.echoed(text, ECHOED):
                yield self._chunk([self._bare(job, sample, "") | part])

    def _bare(self, job: Job, sample: int, what: Any) -> dict[str, Any]:
        index = job.index * self._call.n + sample
        name = "delta" if self._call.is_chat else "text"
        return {"index": index, name: what, "finish_reason": None, "logprobs": None}

    def _choice(self, job: Job, piece: Piece) -> dict[str, Any]:
        key, called = (job.index, piece.sample), False
        added: Any = {"content": piece.text} if self._call.is_chat else piece.text
        if self._call.calls is not None:
            reader = self._readers.setdefault(key, CallReader(self._call.calls))
            added = reader.add(piece.text, last=piece.finish_reason is not None)
            called = bool(reader.calls)
        choice = self._bare(job, piece.sample, added)
        choice["corelm"] = {
            "sample": piece.sample,
            "entropy": piece.entropies,
            **about_tokens(piece.records, self._call.is_masked),
        }
        if job.record is not None:
            prompt = job.ids if key not in self._begun else []
            self._begun.add(key)
            found = rollout(prompt, piece.recorded, job.record == SETS)
            choice["corelm"]["rollout"] = found
        if self._call.is_masked:
            self._costs[key] += constraint_cost(piece.records)
        if piece.finish_reason is not None:
            choice["finish_reason"] = reason_of(piece.finish_reason, called=called)
            choice["corelm"]["finish_reason"] = piece.finish_reason
            if self._call.is_masked:
                cost = self._costs[key]
                choice["corelm"]["constraint_cost"] = cost if math.isfinite(cost) else None
        if job.tables is not None:
            choice |= self._tables(job, piece)
        return choice

    def _tables(self, job: Job, piece: Piece) -> dict[str, Any]:
        key = job.index, piece.sample
        column = self._columns.get(key)
        if column is None:
            column = Column(self._call.served.model.vocabulary, job.ids)
            if self._call.echo:
                column.skip(self._call.prompts[job.index])
            self._columns[key] = column
        column.forget()
        column.add(piece.records, piece.tables)
        return column.as_chat() if self._call.is_chat else column.as_completion()


def constraint_cost(records: Sequence[TokenRecord]) -> float:
    """Return the sum of -ln of the allowed masses of tokens, in nats; infinite for a mass of 0."""
    masses = [record.allowed_mass for record in records]
    return sum((-math.log(mass) if mass else math.inf for mass in masses), 0.0)


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
