"""`corelm clean`: remove the leftovers of interrupted commands."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from corelm.cli.applications import application
from corelm.cli.output.streams import Output, confirmed
from corelm.hookspecs import hookimpl
from corelm.machine import home
from corelm.models.atomic_files import ABANDONED, SafeFile, name_when_whole
from corelm.params import Parameter
from corelm.printable import counted
from corelm.registry.leftovers import LeftoverRegistry
from corelm.registry.registry import LEFTOVERS

DAYS = Parameter.of("days", float, 30, ge=0)
logger = logging.getLogger("corelm")


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    return {"clean": application(clean, "Remove what interrupted commands have left.")}


def clean(
    days: Annotated[
        str,
        typer.Option(metavar="NUMBER", help="Only what has not changed for this number of days."),
    ] = "30",
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without asking.")] = False,
) -> None:
    """Remove what interrupted commands have left in corelm's home.

    These are the journals with which `report --resume` continues, the checkpoints with which
    `train --resume` continues, the measurements with which `study run` continues, and parts of
    downloads and files. What a running command uses stays.
    """
    with Output.open() as out:
        found = list(leftovers(home(), DAYS.convert(days)))
        if not found:
            logger.info("nothing to remove in %s", home())
            return
        headers = ("what", "size", "days", "path")
        out.rows(headers, [_row(leftover) for leftover in found])
        if not yes and not confirmed(f"Remove {_count(found)}?"):
            logger.info("nothing was removed; to remove %s, answer y or add --yes", _count(found))
            return
        kept = [leftover.path for leftover in found if not leftover.remove()]
        logger.info("removed %s", _count([x for x in found if x.path not in kept]))
        for path in kept:
            logger.warning("%s was not removed: it is in use, or cannot be written", path)


def _row(leftover: Leftover) -> tuple[str, ...]:
    return leftover.kind, _size(leftover.size), f"{leftover.age:.0f}", str(leftover.path)


def _count(found: Sequence[Leftover]) -> str:
    size = _size(sum(leftover.size for leftover in found))
    return f"{counted(len(found), 'leftover')}, {size}"


def _size(count: float) -> str:
    """Return a number of bytes with a unit.

    Example:
        >>> _size(999), _size(1_500_000)
        ('999 B', '1.5 MB')
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} GB"


DAY = 86_400


@dataclass(frozen=True)
class Leftover:
    """A file or folder that an interrupted command left behind.

    Attributes:
        path: the file or folder.
        kind: its description.
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
        # A finished report removes its lock too; a training run leaves its lock.
        with _held(self.lock, drop=self.path.suffix == ".jsonl") as held, suppress(OSError):
            if held and self.path.is_dir():
                shutil.rmtree(self.path)
            elif held:
                self.path.unlink()
        return not self.path.exists()


def leftovers(home: Path, days: float) -> Iterator[Leftover]:
    """Yield the leftovers that are unchanged for some days and not in use.

    Args:
        home: corelm's home.
        days: the least age.
    """
    for offer in LeftoverRegistry().offers(LEFTOVERS):
        folder, kind = offer.name, offer.value
        for path in sorted(_entries(home / folder)):
            if name_when_whole(path) is not None:
                found = _leftover(path, "unfinished file", None)
                if found.age < ABANDONED / DAY:  # another process may be writing it
                    continue
            elif re.fullmatch(kind.names, path.name):
                found = _leftover(path, kind.words, kind.lock_of(path))
            else:
                continue
            with _held(found.lock) as held:  # a list must not offer the files of a running command
                if held and found.age >= days:
                    yield found


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _leftover(path: Path, kind: str, lock: Path | None) -> Leftover:
    files = [file for file in [path, *path.rglob("*")] if not file.is_dir()]
    size = sum(file.lstat().st_size for file in files)
    latest = max(file.lstat().st_mtime for file in [path, *files])
    return Leftover(path, kind, size, (time.time() - latest) / DAY, lock)


@contextmanager
def _held(lock: Path | None, drop: bool = False) -> Iterator[bool]:
    """Hold a lock; yield False if another process holds it.

    The lock file is removed afterwards if it did not exist before, or if `drop` is True.
    """
    if lock is None:
        yield True
        return
    with ExitStack() as stack:
        held = False
        with suppress(OSError):
            held = stack.enter_context(SafeFile(lock).lock(remove=drop or not lock.exists()))
        yield held
