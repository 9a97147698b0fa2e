"""A limit of time for code that may never end, on every system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

SECONDS = 10.0
"""The limit of one short task for a decoder; right ones take milliseconds."""

T = TypeVar("T")


class EndlessError(AssertionError):
    """A call that exceeded the limit of time."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return the result of a call; raise an `EndlessError` if it takes longer.

    The call runs in a thread, so the caller continues even if it sleeps for ever.
    """
    future = Future[T]()

    def call() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    thread = Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if future.done():
        return future.result()
    # SystemExit ends a thread in silence, at its next instruction in Python.
    stop, name = ctypes.py_object(SystemExit), ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(name, stop)
    raise EndlessError(f"did not end within {seconds:g} seconds")
