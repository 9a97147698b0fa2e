"""Start processes so that they neither take all processors nor die of Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker

from corelm.native.cpu import VARIABLE


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Limit the threads of processes that start here."""
    wanted = {VARIABLE: str(threads), **_libraries(str(threads))}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _libraries(threads: str) -> Mapping[str, str]:
    """Return the variables of other libraries that the user has not set."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: threads for name in names if name not in os.environ}


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back; processes and threads that start here never see it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # when it starts, it lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
