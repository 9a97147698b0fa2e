"""A lock that keeps two training runs out of one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from corelm.errors import TrainingError
from corelm.model.atomic_files import error_reason


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder, which the system releases when the process ends.

    The lock file `.NAME.lock` stays next to the folder: removing it could let two runs hold two
    files of one name.

    Raises:
        TrainingError: another run holds it, or the lock file cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out.with_name(f".{out.name}.lock"))
        lock.acquire(blocking=False)
    except Timeout:
        raise TrainingError(
            f"another run is writing to {str(out)!r}; wait for it, or choose another folder"
        ) from None
    except OSError as error:
        raise TrainingError(f"cannot write next to {str(out)!r}: {error_reason(error)}") from error
    try:
        yield
    finally:
        lock.release()
