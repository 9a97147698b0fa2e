"""Locks between processes, which the system releases when a process ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def try_lock(path: Path, remove: bool = False) -> Iterator[bool]:
    """Hold a lock; yield False if another process holds it.

    Args:
        path: the lock file.
        remove: remove the file afterwards.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "run.lock")
        >>> with try_lock(path, remove=True) as first, try_lock(path) as second:
        ...     first, second
        (True, False)
        >>> path.exists()
        False
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        if remove:
            with suppress(OSError):
                os.unlink(path)  # while held: later it may be another process's
        lock.release()
