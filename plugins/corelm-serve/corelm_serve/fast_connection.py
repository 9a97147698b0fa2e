"""Connections whose requests are read by httptools, in C."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from corelm_serve.connections import Watched

HEAD = 2**16
"""Bytes of a request besides its body."""


class FastConnection(Watched, HttpToolsProtocol):
    """A connection that refuses a request whose headers, trailers or framing are too long.

    The parser itself takes any length of them.
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
