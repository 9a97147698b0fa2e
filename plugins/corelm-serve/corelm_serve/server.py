"""The server: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from corelm.errors import UsageError
from corelm_serve.app import create_app
from corelm_serve.connections import AFTER_GRACE, Connection
from corelm_serve.security import Access
from corelm_serve.service import Service

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


def connection_type() -> type[asyncio.Protocol]:
    """Return the class of connections: the faster one, if httptools is installed."""
    try:
        from corelm_serve.fast_connection import FastConnection
    except ImportError:
        return Connection
    return FastConnection


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
