"""Threads for the parts of requests that take a while, and how many work at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request

from corelm_serve.errors import ended_by
from corelm_serve.prepare import is_plain

SMALL = 2**14
"""Bytes of a body that is read at once."""
READERS, WAITING, LARGE = 4, 64, 1
"""Requests that are read at a time: ordinary ones; those that may wait for a child process or for
others; and large ones, each of which keeps a processor busy for a while."""


class Limiters(NamedTuple):
    """The numbers of requests that are read at a time.

    Attributes:
        quick: for ordinary requests, which wait for nobody but each other.
        waiting: for those that may wait, for a child process or for a lock.
        large: for large bodies.
    """

    quick: anyio.CapacityLimiter
    waiting: anyio.CapacityLimiter
    large: anyio.CapacityLimiter

    @classmethod
    def of_server(cls) -> Limiters:
        """Return those of a server."""
        return cls(*map(anyio.CapacityLimiter, (READERS, WAITING, LARGE)))


async def in_thread(request: Request, work: Callable[..., Any], *values: Any) -> Any:
    """Do work that may take a while, such as splitting a text into tokens."""
    return await run_sync(guarded, work, *values, limiter=limiter_of(request))


def limiter_of(request: Request) -> anyio.CapacityLimiter:
    """Return the limiter of requests like this one."""
    limiters: Limiters = request.app.state.limiters
    if getattr(request.state, "length", 0) >= SMALL:
        return limiters.large
    document = getattr(request.state, "document", None)
    return limiters.quick if is_plain(document) else limiters.waiting


def guarded(work: Callable[..., Any], *values: Any) -> Any:
    """Do some work; in the event loop, an exception such as KeyboardInterrupt ends the server."""
    try:
        return work(*values)
    except Exception:
        raise
    except BaseException as error:
        raise ended_by(error) from error
