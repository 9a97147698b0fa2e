"""A redirection of the whole process that several threads may want at once."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Undo = Callable[[], None]


class SharedRedirect:
    """Redirect when the first thread enters, and undo it when the last one leaves.

    If each thread redirected for itself, one could save what another had redirected, and put that
    back last: standard output would be lost for good.

    Args:
        redirect: redirects, and returns the function that undoes it.
    """

    def __init__(self, redirect: Callable[[], Undo]) -> None:
        self._redirect = redirect
        self._undo: Undo = lambda: None
        self._entries = Counter[int]()  # by thread, which may enter again while inside
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            # Held by the thread that forks, so that the child gets the lock and the entries whole.
            os.register_at_fork(
                before=self._lock.acquire,
                after_in_parent=self._lock.release,
                after_in_child=self._after_fork,
            )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Redirect while the block runs."""
        thread = threading.get_ident()
        with self._lock:
            if not self._entries:
                self._undo = self._redirect()
            self._entries[thread] += 1
        try:
            yield
        finally:
            with self._lock:
                self._leave(thread, self._entries[thread] - 1)

    def _leave(self, thread: int, entries: int) -> None:
        """Note how often a thread is still in; undo the redirection if it was the last one."""
        self._entries[thread] = entries
        if not entries:
            del self._entries[thread]
        if not self._entries:
            self._undo()

    def _after_fork(self) -> None:
        """Forget the threads that a child does not have."""
        mine = threading.get_ident()
        # Only the forking thread exists in the child, so the others would never leave.
        for thread in [thread for thread in self._entries if thread != mine]:
            self._leave(thread, 0)
        self._lock.release()
