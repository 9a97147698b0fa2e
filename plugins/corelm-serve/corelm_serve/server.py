"""The server: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn

from corelm.errors import UsageError
from corelm_serve.app import create_app
from corelm_serve.security import Access
from corelm_serve.service import Service

logger = logging.getLogger("corelm.serve")

SILENCE = 30.0
"""Seconds without a request after which a connection is closed."""
UNREAD = 20.0
"""Seconds in which a client must read some of what waits for it."""

HEAD = 2**16
"""Bytes of a request besides its body."""
AFTER_GRACE = 2
"""Seconds that the last events get to reach their clients."""


class Watched:
    """The part of a connection that closes it if no request comes or no answer is read.

    uvicorn waits for both forever: a client that opens as many connections as the server takes,
    without a token, would keep out all others, and one that reads nothing would keep its answer in
    memory.
    """

    _answered: Any = None
    """The request that had been answered at the last look."""
    _dropping: asyncio.TimerHandle | None = None
    """Drops the client if it doesn't read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look for requests."""
        super().connection_made(transport)
        self.loop.call_later(SILENCE, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request, whose client has gone."""
        self._keep()
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
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is self._answered:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._answered = self.cycle if is_idle else None
            self.loop.call_later(SILENCE, self._look)


class BoundedHead:
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


def connection_type() -> type[asyncio.Protocol]:
    """Return the class of connections: the faster one, if httptools is installed."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return slow_connection_type()
    return type("FastConnection", (BoundedHead, Watched, HttpToolsProtocol), {})


def slow_connection_type() -> type[asyncio.Protocol]:
    """Return the class of connections whose requests are read by h11."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return type("Connection", (Watched, H11Protocol), {})


logger = logging.getLogger("corelm.serve")

CONNECTIONS = 1_024
BACKLOG = 512
SWITCH = 1e-4
"""Seconds after which a thread that computes in Python lets another one run. By default it is fifty
times longer, and the event loop would wait for it many times in each request."""


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


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: the address or name.
        port: the port; 0 for any free one.

    Raises:
        UsageError: the address is taken or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            if hasattr(signal, "SIGKILL"):  # on Windows it would let two servers share a port
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(BACKLOG)
        except OSError:
            found.close()
            raise
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return found


def serve(service: Service, access: Access, socket_: socket.socket) -> None:
    """Serve until a signal comes."""
    sys.setswitchinterval(SWITCH)
    config = uvicorn.Config(
        create_app(service, access),
        log_config=None,
        access_log=False,
        server_header=False,
        http=connection_type(),
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=int(service.limits.grace) + AFTER_GRACE,
    )
    Server(config, service).run(sockets=[socket_])
