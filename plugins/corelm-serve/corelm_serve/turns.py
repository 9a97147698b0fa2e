"""Turns between answers that are written: one slice after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import anyio
from anyio.to_thread import run_sync


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
