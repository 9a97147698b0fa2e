"""A lock that keeps two training runs out of one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from corelm.errors import TrainingError
from corelm.models.atomic_files import error_reason, try_lock


def lock_path(out: Path) -> Path:
    """Return the file that a run locks while it writes to an output folder."""
    return out.with_name(f".{out.name}.lock")


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder, which the system releases when the process ends.

    The lock file `.NAME.lock` stays next to the folder: removing it could let two runs hold two
    files of one name.

    Raises:
        TrainingError: another run holds it, or the lock file cannot be written.
    """
    with ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            alone = stack.enter_context(try_lock(lock_path(out)))
        except OSError as error:
            reason = error_reason(error)
            raise TrainingError(f"cannot write next to {str(out)!r}: {reason}") from error
        if not alone:
            raise TrainingError(
                f"another run is writing to {str(out)!r}; wait for it, or choose another folder"
            )
        yield
