"""One function for each route."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from threading import get_ident
from typing import Any, NamedTuple

import anyio
from anyio.to_thread import run_sync
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from corelm import Chain
from corelm.runs import printable
from corelm_serve import answers, tokens
from corelm_serve.errors import ApiError, samplers_in
from corelm_serve.openapi import document
from corelm_serve.play import answers as play_answers
from corelm_serve.play.classroom import Classroom
from corelm_serve.play.files import page_file
from corelm_serve.prepare import Shared, chat_call, completion_call
from corelm_serve.requests.chat import ChatRequest
from corelm_serve.requests.completion import CompletionRequest
from corelm_serve.requests.fields import Request as Body
from corelm_serve.requests.fields import json_of
from corelm_serve.requests.play import (
    NextRequest,
    PictureRequest,
    SendRequest,
    TreeRequest,
    WriteRequest,
)
from corelm_serve.responses import (
    EventResponse,
    Inbox,
    SlicedResponse,
    error_response,
    json_response,
    written,
)
from corelm_serve.scheduling.scheduler import refusal_of
from corelm_serve.security import CLIENT, STUDENT
from corelm_serve.service import Service, find
from corelm_serve.threads import SMALL, guarded, in_thread, limiter_of
from corelm_serve.tokens import DetokenizeRequest, TokenizeRequest

SHORT = 2**10
"""Bytes of a body that is prepared at once if its strategy is known: a thread would take longer."""
BODY_SECONDS = 30
"""The time in which a body must have come."""


FEW = 512
"""Tokens of an answer that is written at once, if it has no notes on each: a millisecond."""


class LateError(ApiError):
    """A chain that took too long."""


def service_of(request: Request) -> Service:
    """Return what all requests share."""
    service: Service = request.app.state.service
    return service


async def read_body(request: Request) -> Any:
    """Return the JSON value of a body.

    Raises:
        ApiError: another type, too many bytes, too slow, or no JSON.
        ClientDisconnect: the client has gone in the middle, or has closed its own side.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(f"the content type must be application/json, not {kind!r}", 415)
    body, limit = bytearray(), service_of(request).limits.body
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part  # in place: a client may send single bytes
                if len(body) > limit:
                    raise ApiError(f"a body has at most {limit:,} bytes", 413, code="too_large")
    except TimeoutError:
        raise ApiError(f"the body took more than {BODY_SECONDS} seconds", 408) from None
    state = request.state
    state.length = len(body)
    if service_of(request).log_texts:
        state.body = body
    if len(body) < SMALL:  # faster than a thread
        state.document = json_of(body)
        return state.document
    return await in_thread(request, json_of, body)


async def completions(request: Request) -> Any:
    """Continue a text, or several."""
    return await _answered(request, completion_call)


async def chat_completions(request: Request) -> Any:
    """Answer messages."""
    return await _answered(request, chat_call)


async def _answered(request: Request, prepare: Callable[..., Any]) -> Any:
    """Return the answer to a request that texts are written for."""
    service, body, app = service_of(request), await read_body(request), request.app.state
    inbox, turns, strategies = Inbox(app.wakeups), app.turns, app.strategies
    key = strategies.key_of(body) if request.state.length < SHORT else None
    client = request.scope.get(CLIENT) or (request.client.host if request.client else "")
    shared = Shared(service.models, service.limits, strategies, key, inbox.tell, client)
    if strategies.knows(key):
        call = guarded(prepare, body, shared)
    else:
        call = await in_thread(request, prepare, body, shared)
    if call.stream:
        return EventResponse(service, call, inbox, turns)
    results = await written(call, service, inbox, request.receive)
    drawn = answers.drawn_tokens(results)
    service.metrics.count(call.served.name, call.prompt_tokens, drawn)
    answer = answers.answer(call, results)
    if drawn < FEW and not (call.has_notes or call.echo):
        return json_response(answer)
    return SlicedResponse(answer, turns, slow=call.has_tables)


async def models(request: Request) -> Response:
    """List the models."""
    listed = [tokens.about_model(served) for served in service_of(request).models.values()]
    return json_response({"object": "list", "data": listed})


async def model(request: Request) -> Response:
    """Describe one model."""
    served = find(service_of(request).models, request.path_params["name"])
    return json_response(tokens.about_model(served))


async def tokenize(request: Request) -> Any:
    """Split a text into tokens."""
    body = await read_body(request)
    answer = await in_thread(request, tokens.tokenize, body, service_of(request).models)
    return SlicedResponse(answer, request.app.state.turns)


async def detokenize(request: Request) -> Response:
    """Join tokens into a text."""
    body = await read_body(request)
    return json_response(
        await in_thread(request, tokens.detokenize, body, service_of(request).models)
    )


async def tokenizer_info(request: Request) -> Response:
    """Describe the vocabulary of a model."""
    served = find(service_of(request).models, request.query_params.get("model"))
    return json_response(await in_thread(request, tokens.tokenizer_info, served))


async def play(request: Request) -> Response:
    """Return the page of `corelm play`."""
    return page_file("index.html")


async def play_file(request: Request) -> Response:
    """Return a file of the page."""
    return page_file(request.path_params["file"])


async def play_samplers(request: Request) -> Response:
    """List the samplers and their parameters."""
    service = service_of(request)
    offers = await in_thread(request, play_answers.samplers, service.models)
    role = "student" if STUDENT in request.scope else "teacher"
    return json_response(offers | {"role": role if service.classroom else None})


async def play_next(request: Request) -> Response:
    """Explain the next word, stage by stage."""
    service, body = service_of(request), await read_body(request)
    try:
        answer = await _worked(request, play_answers.next_word, body)
    except LateError as late:  # the page stays usable, and names the stage
        work = play_answers.next_word
        shared = service.models, service.rows, service.limits
        answer = await in_thread(request, work, body, *shared, late.message)
    return json_response(answer)


async def play_tree(request: Request) -> Response:
    """List what could follow, word by word."""
    return json_response(await _worked(request, play_answers.tree, await read_body(request)))


async def play_write(request: Request) -> Response:
    """Draw tokens from a place in a text on."""
    return json_response(await _worked(request, play_answers.write, await read_body(request)))


async def play_class(request: Request) -> Response:
    """Return what the teacher of a class has sent."""
    classroom = _classroom(request)
    is_student = STUDENT in request.scope
    return json_response(classroom.for_students() if is_student else classroom.for_teacher())


async def play_send(request: Request) -> Response:
    """Send a state of the page to a class."""
    classroom = _classroom(request)
    classroom.send(SendRequest.read(await read_body(request)).state)
    return json_response(classroom.for_students())


def _classroom(request: Request) -> Classroom:
    """Return the server's classroom.

    Raises:
        ApiError: the server has none.
    """
    classroom = service_of(request).classroom
    if classroom is None:
        raise ApiError("this server has no class; start it with corelm play --class", 404)
    return classroom


async def play_picture(request: Request) -> Response:
    """Draw the next word as SVG, PDF or PNG."""
    # Imports reports, which few servers draw.
    from corelm_serve.play.pictures import explained, picture

    explanation = await _worked(request, explained, await read_body(request))
    # Not given up: a thread that matplotlib draws in must not outlive Python.
    content, kind = await in_thread(request, picture, *explanation)
    return Response(content, media_type=kind)


async def _worked(request: Request, answer: Callable[..., Any], body: Any) -> Any:
    """Return an answer about a place in a text, which a sampler may take long for.

    Raises:
        LateError: it takes longer than the server's limit, or a sampler hangs too often.
    """
    service, threads = service_of(request), list[int]()
    shared = service.models, service.rows, service.limits
    for sampler, count in Counter(service.hanging.values()).items():
        message = refusal_of(sampler, count)
        # Of a body that nobody has checked.
        chain = [body.get("sampler"), body.get("stages")] if isinstance(body, dict) else body
        if message and re.search(rf"\b{re.escape(sampler)}\b", repr(chain)):
            raise LateError(message, 503, code="sampler_hangs")

    def work() -> Any:
        threads.append(get_ident())
        try:
            return guarded(answer, body, *shared)
        finally:
            service.hanging.pop(get_ident(), None)

    seconds = service.limits.stall
    try:
        with anyio.fail_after(seconds):
            return await run_sync(work, limiter=limiter_of(request), abandon_on_cancel=True)
    except TimeoutError:
        frame = sys._current_frames().get(threads[0]) if threads else None
        # A sampler inside of another one is a part of it: the outermost stage is named.
        stages = [each for each in samplers_in(frame) if not isinstance(each, Chain)]
        if stages:
            service.hanging[threads[0]] = stages[0].name
        name = stages[-1] if stages else "the chain"
        message = f"{name} took more than {seconds:g} seconds, and was given up"
        raise LateError(message, 503, code="timeout") from None


async def index(request: Request) -> Response:
    """Name the server, its version and its description."""
    version = answers.corelm_version()
    return json_response({"corelm": version, "version": version, "openapi": "/openapi.json"})


async def health(request: Request) -> Response:
    """Say that the server answers."""
    return json_response({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Return figures for Prometheus."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def openapi(request: Request) -> Response:
    """Return the description of this interface."""
    return json_response(document(ROUTES))


class RouteSpec(NamedTuple):
    """One route: the HTTP method, the path, what answers, and the request that a body is read as.

    The first line of the endpoint's docstring is the route's line in the reference.
    """

    method: str
    path: str
    endpoint: Callable[[Request], Awaitable[Any]]
    body: type[Body] | None = None

    @property
    def summary(self) -> str:
        """One line for the reference."""
        return (self.endpoint.__doc__ or "").removesuffix(".")


ROUTES = (
    RouteSpec("GET", "/", index),
    RouteSpec("POST", "/v1/completions", completions, CompletionRequest),
    RouteSpec("POST", "/v1/chat/completions", chat_completions, ChatRequest),
    RouteSpec("GET", "/v1/models", models),
    RouteSpec("GET", "/v1/models/{name:path}", model),
    RouteSpec("POST", "/tokenize", tokenize, TokenizeRequest),
    RouteSpec("POST", "/detokenize", detokenize, DetokenizeRequest),
    RouteSpec("GET", "/tokenizer_info", tokenizer_info),
    RouteSpec("GET", "/api/samplers", play_samplers),
    RouteSpec("POST", "/api/next", play_next, NextRequest),
    RouteSpec("POST", "/api/tree", play_tree, TreeRequest),
    RouteSpec("POST", "/api/picture", play_picture, PictureRequest),
    RouteSpec("POST", "/api/write", play_write, WriteRequest),
    RouteSpec("GET", "/api/class", play_class),
    RouteSpec("POST", "/api/class", play_send, SendRequest),
    RouteSpec("GET", "/play", play),
    RouteSpec("GET", "/play/{file}", play_file),
    RouteSpec("GET", "/health", health),
    RouteSpec("GET", "/version", index),
    RouteSpec("GET", "/metrics", metrics),
    RouteSpec("GET", "/openapi.json", openapi),
)
"""The routes: one table for the application, its figures and the OpenAPI document."""


MISSING = {
    "/v1/responses": "this server keeps no conversations: send them to /v1/chat/completions",
    "/v1/embeddings": "this server writes texts; it gives no embeddings",
}
"""Routes of OpenAI's that clients try, each with the reason why it isn't there."""


def http_error(scope: Scope, error: HTTPException) -> Response:
    """Return Starlette's own errors, such as an unknown path, in OpenAI's shape."""
    headers = dict(error.headers or {})
    if error.status_code == 404:
        if reason := MISSING.get(scope["path"]):
            return error_response(ApiError(reason, 404, code="unsupported"))
        paths = [spec.path.replace(":path", "") for spec in ROUTES]
        hint = printable.did_you_mean(scope["path"], paths)
        message = f"there is no such path{hint} (there are: {', '.join(paths)})"
        return error_response(ApiError(message, 404, code="not_found"))
    message = error.detail
    if error.status_code == 405:
        allowed = sorted({*headers.get("Allow", "").split(", ")} - {"HEAD"})
        message = f"this path takes {' or '.join(allowed)}, not {scope['method']}"
    return error_response(ApiError(message, error.status_code, headers=headers))
