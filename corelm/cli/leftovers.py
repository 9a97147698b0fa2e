"""The files in corelm's home that interrupted commands have left."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from corelm.model.atomic_files import ABANDONED, PARTIAL
from corelm.model.locks import try_lock

DAY = 86_400

KINDS = {
    "reports": {r".+\.jsonl": "interrupted report"},
    "models": {r"[^.].*\.checkpoint": "interrupted training"},
    "data": {r".+\.part": "interrupted download"},
}
"""By folder: the names of what commands continue, and what it is."""

UNFINISHED = rf"\..+\.[0-9a-f]{{8}}{re.escape(PARTIAL)}"


@dataclass(frozen=True)
class Leftover:
    """A file or folder that no command has finished.

    Attributes:
        path: the file or folder.
        kind: what it is.
        size: bytes.
        age: days since its last change.
        lock: the file that a running command locks; None if there is none.
    """

    path: Path
    kind: str
    size: int
    age: float
    lock: Path | None

    def remove(self) -> bool:
        """Remove it; return False if a running command uses it, or it cannot be removed."""
        # A finished report removes its lock too; that of a training run always stays.
        with _held(self.lock, drop=self.path.suffix == ".jsonl") as held, suppress(OSError):
            if held and self.path.is_dir():
                shutil.rmtree(self.path)
            elif held:
                self.path.unlink()
        return not self.path.exists()


def leftovers(home: Path, days: float) -> Iterator[Leftover]:
    """Yield what has not been changed for some days, without what is in use now.

    Args:
        home: corelm's home.
        days: the least age.
    """
    for folder, kinds in KINDS.items():
        for path in sorted(_entries(home / folder)):
            if re.fullmatch(UNFINISHED, path.name):
                found = _leftover(path, "unfinished file", None)
                if found.age < ABANDONED / DAY:  # somebody may be writing it
                    continue
            else:
                kind = next((k for name, k in kinds.items() if re.fullmatch(name, path.name)), None)
                if kind is None:
                    continue
                found = _leftover(path, kind, _lock_of(path))
            with _held(found.lock) as held:
                if held and found.age >= days:
                    yield found


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _lock_of(path: Path) -> Path:
    """Return the file that the command locks which writes a leftover."""
    if path.suffix == ".jsonl":
        return path.with_suffix(".lock")
    if path.suffix == ".checkpoint":
        return path.with_name(f".{path.stem}.lock")
    return path.with_name("aclImdb.lock")


def _leftover(path: Path, kind: str, lock: Path | None) -> Leftover:
    files = [file for file in [path, *path.rglob("*")] if not file.is_dir()]
    size = sum(file.lstat().st_size for file in files)
    latest = max(file.lstat().st_mtime for file in [path, *files])
    return Leftover(path, kind, size, (time.time() - latest) / DAY, lock)


@contextmanager
def _held(lock: Path | None, drop: bool = False) -> Iterator[bool]:
    """Hold a lock if nobody else does; yield False if somebody does.

    The lock file is removed afterwards if it was not there before, or to be dropped.
    """
    if lock is None:
        yield True
        return
    with ExitStack() as stack:
        held = False
        with suppress(OSError):
            held = stack.enter_context(try_lock(lock, remove=drop or not lock.exists()))
        yield held
