"""The application: routes, errors, figures and the log, behind the guard."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from corelm.errors import CorelmError
from corelm.runs import printable
from corelm_serve import endpoints
from corelm_serve.endpoints import Limiters
from corelm_serve.errors import ApiError, as_api_error, line_of
from corelm_serve.exchange import ClientGoneError, Wakeups
from corelm_serve.responses import GONE, Turns, error_response
from corelm_serve.routes import ROUTES
from corelm_serve.security import Access, Guard
from corelm_serve.service import Service

logger = logging.getLogger("corelm.serve")

READERS, WAITING, LARGE = 4, 64, 1
"""Requests that are read at a time: ordinary ones; those that may wait for a child process or for
others; and large ones, each of which keeps a processor busy for a while."""


def create_app(service: Service, access: Access) -> ASGIApp:
    """Return the application.

    Args:
        service: the models and their threads, which the application ends when it ends.
        access: who may call.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.limiters = Limiters(*map(anyio.CapacityLimiter, (READERS, WAITING, LARGE)))
        app.state.wakeups, app.state.turns = Wakeups(), Turns()
        yield
        service.close()

    routes = [
        Route(
            spec.path, Logged(spec.path, getattr(endpoints, spec.endpoint)), methods=[spec.method]
        )
        for spec in ROUTES
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http})
    app.state.service = service
    return Guard(app, access)


class Logged:
    """An endpoint as an application: its errors in OpenAI's shape, its figures, a line in the log.

    Args:
        route: the path of the route.
        endpoint: returns the response.
    """

    def __init__(self, route: str, endpoint: Callable[[Request], Awaitable[Any]]) -> None:
        self._route, self._endpoint = route, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, status, started = Request(scope, receive), 0, time.monotonic()
        noted = False

        def note(status: int) -> None:
            nonlocal noted
            if not noted:
                noted = True
                self._note(request, status, time.monotonic() - started)

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body"):
                note(status)  # before the last bytes: a client that has them finds its figures
            await send(message)

        try:
            response = await self._endpoint(request)
            await response(scope, receive, noting)
        except ClientGoneError:
            status = GONE
        except Exception as error:
            if status:  # the response has begun, and can only be cut off
                raise
            if not isinstance(error, (ApiError, CorelmError)):
                logger.exception("a request failed: %s", line_of(error))
            await error_response(as_api_error(error))(scope, receive, noting)
        finally:
            note(status or GONE)

    def _note(self, request: Request, status: int, seconds: float) -> None:
        request.app.state.service.metrics.note(self._route, status, seconds)
        length = getattr(request.state, "length", 0)
        logger.info(
            "%s %s %d, %d bytes, %.0f ms", request.method, self._route, status, length,
            seconds * 1000,
        )  # fmt: skip
        if body := getattr(request.state, "body", b""):
            logger.info("body %s", body.decode("utf-8", "replace"))


async def _http(request: Request, error: Exception) -> Response:
    """Return Starlette's own errors, such as an unknown path, in OpenAI's shape."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        paths = [spec.path.replace(":path", "") for spec in ROUTES]
        hint = printable.did_you_mean(request.url.path, paths)
        message = f"there is no such path{hint} (there are: {', '.join(paths)})"
        return error_response(ApiError(message, 404, code="not_found"))
    message = error.detail
    if error.status_code == 405:
        allowed = sorted({*headers.get("Allow", "").split(", ")} - {"HEAD"})
        message = f"this path takes {' or '.join(allowed)}, not {request.method}"
    return error_response(ApiError(message, error.status_code, headers=headers))
