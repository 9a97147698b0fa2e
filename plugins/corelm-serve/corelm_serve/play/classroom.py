"""A class on one live page: students join with a code, the teacher sends a state to all."""

from __future__ import annotations

import secrets
import socket
import time
from collections import OrderedDict, deque
from typing import Any

from corelm_serve.errors import ApiError
from corelm_serve.security import is_secret

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""The characters of codes: no I, O, 0 or 1, which are hard to tell apart on a projected page."""
LENGTH = 6
TRIES, SECONDS = 10, 60
"""An address may send this many wrong codes in this time, then has to wait: trying all codes would
take years."""
ADDRESSES = 1_000
"""The number of addresses whose wrong codes are remembered."""


class Classroom:
    """A class: the state that the students and the teacher of one server share.

    Args:
        address: the server's URL for the students.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.code = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
        self.joined = 0
        self._token = secrets.token_urlsafe(24)
        self._version = 0
        self._state: dict[str, Any] | None = None
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def join(self, code: str, address: str) -> str | None:
        """Return the students' token for the code; None for a wrong one.

        Raises:
            ApiError: the address has sent too many wrong ones.
        """
        wrong, now = self._wrong.setdefault(address, deque(maxlen=TRIES)), time.monotonic()
        if len(wrong) == TRIES and now - wrong[0] < SECONDS:
            raise ApiError("too many wrong codes; wait a minute", 429, code="too_many_codes")
        if is_secret(code.strip().upper(), self.code):
            self.joined += 1
            return self._token
        wrong.append(now)
        while len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)
        return None

    def is_student(self, token: str) -> bool:
        """Return True if a text is the students' token."""
        return is_secret(token, self._token)

    def send(self, state: dict[str, Any]) -> None:
        """Send a state of the page to all."""
        self._version, self._state = self._version + 1, state

    def for_students(self) -> dict[str, Any]:
        """Return the state that was sent last, and its number, which counts from 1."""
        return {"version": self._version, "state": self._state}

    def for_teacher(self) -> dict[str, Any]:
        """Return what the teacher projects: the address, the code, and both as a picture."""
        about = {"address": f"{self.address}/join", "code": self.code, "joined": self.joined}
        return self.for_students() | about | {"picture": self._picture()}

    def _picture(self) -> str | None:
        """Return a QR code as a data URL; None without the package segno."""
        try:
            import segno
        except ImportError:
            return None
        url = f"{self.address}/join?code={self.code}"
        return str(segno.make(url, micro=False).svg_data_uri(scale=6, border=4, light="white"))


def local_address() -> str:
    """Return this machine's address on its network; the loopback address without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # for documentation alone; nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
