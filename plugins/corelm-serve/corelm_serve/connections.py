"""Connections: uvicorn's, with bounds on their heads, on silence and on unread answers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger("corelm.serve")

SILENCE = 30.0
"""Seconds without a request after which a connection is closed."""
UNREAD = 20.0
"""Seconds in which a client must read some of what waits for it."""

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


class Connection(Watched, H11Protocol):
    """A connection whose requests are read by h11, which limits their heads itself."""
