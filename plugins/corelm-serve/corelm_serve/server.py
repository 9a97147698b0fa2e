"""The server: the application, its connections with their bounds, a socket, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from corelm.errors import CorelmError
from corelm.runs import printable
from corelm_serve.endpoints import ROUTES, http_error
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.prepare import StrategyCache
from corelm_serve.responses import GONE, Turns, Wakeups, error_response
from corelm_serve.security import REQUEST_ID, Access, Guard
from corelm_serve.service import Service
from corelm_serve.threads import Limiters

if TYPE_CHECKING:
    import socket

logger = logging.getLogger("corelm.serve")

SILENCE = 30.0
"""Seconds without a request after which a connection is closed."""
UNREAD = 20.0
"""Seconds in which a client must read some of what waits for it."""
LARGE_WRITE = 2**13
"""Bytes that don't wait for others to be written."""
HEAD = 2**16
"""Bytes of a request besides its body."""
AFTER_GRACE = 2
"""Seconds that the last events get to reach their clients."""
CONNECTIONS, FILES = 1_024, 128
"""Connections at a time, and the files that the server needs for other things."""
AT_ONCE = 32
"""The part of all connections that is closed at once where there are too many."""
LOCAL = ("127.0.0.1", 0)
"""The address of clients of a Unix domain socket: a proxy of this machine, which is believed whom
it asks for."""
FULL = 1
"""Seconds that a client has to read that there is no room for it."""
SWITCH = 1e-4
"""Seconds after which a thread that computes in Python lets another one run. By default it is fifty
times longer, and the event loop would wait for it many times in each request."""


def create_app(service: Service, access: Access) -> ASGIApp:
    """Return the application.

    Args:
        service: the models and their threads, which the application ends when it ends.
        access: who may call.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.limiters = Limiters.of_server()
        app.state.wakeups, app.state.turns = Wakeups(), Turns()
        app.state.strategies = StrategyCache()
        yield
        service.close()

    routes = [
        Route(spec.path, Logged(spec.path, spec.endpoint), methods=[spec.method]) for spec in ROUTES
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.service = service

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app.router(scope, receive, send)
        except HTTPException as error:  # the router's own, before an answer
            await http_error(scope, error)(scope, receive, send)

    # In place of Starlette's own layers, which each message of an answer would pass: `Logged`
    # answers all other errors.
    app.middleware_stack = routed
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
        except ClientDisconnect:
            status = GONE
        except Exception as error:
            if status:  # the response has begun, and can only be cut off
                raise
            if not isinstance(error, (ApiError, CorelmError)):
                logger.exception("a request failed: %s", printable.shown(error))
            await error_response(as_api_error(error))(scope, receive, noting)
        finally:
            note(status or GONE)

    def _note(self, request: Request, status: int, seconds: float) -> None:
        request.app.state.service.metrics.note(self._route, status, seconds)
        length = getattr(request.state, "length", 0)
        logger.info(
            "%s %s %d, %d bytes, %.0f ms, %s", request.method, self._route, status, length,
            seconds * 1000, request.scope[REQUEST_ID],
        )  # fmt: skip
        if body := getattr(request.state, "body", b""):
            logger.info("body %s", body.decode("utf-8", "replace"))


_OfUvicorn: Any = object
"""A base for parts of connections, whose other part is one of uvicorn's classes."""


class Joined:
    """A transport that writes at once what one turn of the event loop has for a client.

    uvicorn writes the head of an answer and then its body. Each write is a system call that wakes
    the client, and takes as long as much of the answer.

    Args:
        transport: the transport.
        loop: the event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write some bytes in the next turn, or with others at once if they are many."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        if len(data) > LARGE_WRITE:  # the client may read slowly: uvicorn must get to know it
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():  # a connection that broke takes nothing
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def close(self) -> None:
        """Close the connection when all is written."""
        self.flush()
        self._transport.close()


class Watched(_OfUvicorn):  # type: ignore[misc]
    """The part of a connection that closes it if no request comes or no answer is read.

    uvicorn waits for both forever: a client that opens as many connections as the server takes,
    without a token, would keep out all others, and one that reads nothing would keep its answer in
    memory.
    """

    most = CONNECTIONS
    """The most connections; those that have been idle for longest go for the next ones."""
    client: tuple[str, int]
    """The address that it comes from."""
    _active = 0.0
    """The time of its beginning, or of its last answer."""
    _answered: Any = None
    """The request that had been answered at the last look."""
    _dropping: asyncio.TimerHandle | None = None
    """Drops the client if it doesn't read."""
    _looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to look for requests."""
        super().connection_made(Joined(transport, self.loop))
        self.client = self.client or LOCAL
        self._active = self.loop.time()
        self._looking = self.loop.call_later(SILENCE, self._look)
        if len(self.connections) > self.most:  # to look at each takes a millisecond
            self._make_room()

    def _make_room(self) -> None:
        """Close the oldest idle connections of the addresses with the most of them."""
        others = [x for x in self.connections if not (x is self or x.transport.is_closing())]
        if len(others) < self.most:
            return
        if idle := [each for each in others if each._is_idle]:
            counts = Counter(each.client[0] for each in idle)
            idle.sort(key=lambda each: (-counts[each.client[0]], each._active))
            for each in idle[: max(self.most // AT_ONCE, 1)]:
                each.transport.abort()
            return
        self.transport.pause_reading()
        message = f"{self.most:,} requests are being answered already; ask again later"
        self._refuse("503 Service Unavailable", ApiError(message, 503, code="busy"))
        # To close it with a request unread would reset it.
        self.loop.call_later(FULL, self.transport.abort)

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _refuse(self, status: str, error: ApiError) -> None:
        """Write an error outside of a request."""
        response = error_response(error)
        head = [f"HTTP/1.1 {status}", "connection: close"]
        head += [f"{name.decode()}: {value.decode()}" for name, value in response.raw_headers]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + bytes(response.body))

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; the answer to a whole one before it comes first."""
        if not self._is_idle and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.transport.pause_reading()
            return
        self._refuse("400 Bad Request", ApiError(msg, code="invalid_http"))
        self.transport.close()

    def on_response_complete(self) -> None:
        """Take the next request."""
        self._active = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request, whose client has gone."""
        self._keep()
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client, which reads more slowly than its answer is written."""
        super().pause_writing()
        self._dropping = self.loop.call_later(UNREAD, self._drop)

    def resume_writing(self) -> None:
        """Write on: the client has read."""
        self._keep()
        super().resume_writing()

    def shutdown(self) -> None:
        """Let the request end, as long as the server waits for it."""
        super().shutdown()
        # Before uvicorn cancels its task, which would log a traceback.
        seconds = (self.config.timeout_graceful_shutdown or 0) - AFTER_GRACE / 2
        self.loop.call_later(max(seconds, 0), self.transport.abort)

    def _keep(self) -> None:
        if self._dropping is not None:
            self._dropping.cancel()

    def _drop(self) -> None:
        logger.info("a client was dropped: it read nothing for %g seconds", UNREAD)
        self.transport.abort()

    def _look(self) -> None:
        if self._is_idle and self.cycle is self._answered:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._answered = self.cycle if self._is_idle else None
            self._looking = self.loop.call_later(SILENCE, self._look)


class BoundedHead(_OfUvicorn):  # type: ignore[misc]
    """The part of a fast connection that refuses too long headers, trailers or framing.

    httptools, which reads requests in C, takes any length of them; h11 has a limit itself.
    """

    _head = 0

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        self._head += len(data)
        super().data_received(data)
        if self._head > HEAD and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, which has a limit of its own."""
        self._head -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count the next request."""
        self._head = 0
        super().on_message_complete()


def connection_type(*, fast: bool = True) -> type[asyncio.Protocol]:
    """Return the class of connections: by default the faster one, if httptools is installed."""
    most = {"most": min(CONNECTIONS, _descriptors() - FILES)}
    if fast and find_spec("httptools"):
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        return type("FastConnection", (BoundedHead, Watched, HttpToolsProtocol), most)
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return type("Connection", (Watched, H11Protocol), most)


def _descriptors() -> int:
    """Return the most files that this process may open, which it raises to what it needs."""
    needs = CONNECTIONS + FILES
    try:
        import resource
    except ImportError:  # Windows
        return needs
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < needs:
        soft = needs if hard == unlimited else min(needs, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return needs if soft == unlimited else soft


class Server(uvicorn.Server):
    """A uvicorn server that stops the service when it is asked to end.

    Args:
        config: uvicorn's.
        service: the service.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no new requests; a second signal ends at once."""
        if not self.should_exit:
            self._service.begin_stop()
        super().handle_exit(sig, frame)


def serve(service: Service, access: Access, socket_: socket.socket) -> None:
    """Serve until a signal comes."""
    sys.setswitchinterval(SWITCH)
    # What the lines of the log don't have takes as long as to write them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    vars(logging).update(logAsyncioTasks=False, _srcfile=None)  # as Python's logging HOWTO has it
    # What is loaded stays: to look through it for garbage would hold up all texts, again and again,
    # for tens of milliseconds.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        create_app(service, access),
        log_config=None,
        access_log=False,
        server_header=False,
        http=connection_type(),
        ws="none",
        timeout_graceful_shutdown=int(service.limits.grace) + AFTER_GRACE,
    )
    Server(config, service).run(sockets=[socket_])
