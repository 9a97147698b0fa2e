"""What a report has finished so far, kept in a file, so that an interrupted one can go on.

A report is made in units of work, each of which depends on the settings alone. A finished unit
is one line of the journal. Two processes that make the same report write the same lines, so
nothing is locked.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from corelm.errors import UsageError
from corelm.model import atomic_files
from corelm.model.paths import home
from corelm.printable import shown

FOLDER = "reports"
logger = logging.getLogger("corelm")

Settings = Mapping[str, Any]


class Journal:
    """The units that are finished. Without a file they are kept in memory alone.

    Args:
        done: what earlier work left, by unit.
        file: where each unit is appended as it is finished.

    Example:
        >>> journal = Journal()
        >>> journal.do("a unit", lambda: (1, 2))
        [1, 2]
        >>> journal.do("a unit", lambda: 1 / 0)
        [1, 2]
    """

    def __init__(self, done: dict[str, Any] | None = None, file: IO[bytes] | None = None) -> None:
        self._done = dict(done or {})
        self._file = file

    def do(self, unit: str, work: Callable[[], Any]) -> Any:
        """What a unit of work gives: as it was kept, or by doing it now.

        The result is what JSON makes of it, so that it is the same either way.
        """
        if unit not in self._done:
            line = json.dumps([unit, work()]).encode()
            self._append(line)
            self._done[unit] = json.loads(line)[1]
        return self._done[unit]

    def _append(self, line: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(line + b"\n")
            self._file.flush()
        except OSError as error:
            logger.warning(
                "what is finished cannot be kept any more: %s", atomic_files.error_reason(error)
            )
            self._file = None


@contextmanager
def opened(settings: Settings, resume: bool) -> Iterator[Journal]:
    """The journal of a report with these settings, which is removed when all went well.

    Args:
        settings: all that decides what the report says; what JSON can hold.
        resume: whether to go on from what is there; it is replaced otherwise.

    Raises:
        UsageError: `resume`, and what is there has other settings.
    """
    header = atomic_files.dump_json(dict(settings))
    path = home() / FOLDER / f"{atomic_files.sha256(header)[:16]}.jsonl"
    done = _kept(path, json.loads(header)) if resume else {}
    if resume and not path.exists():
        _refuse_other_settings(path.parent, json.loads(header))
    file = _started(path, json.loads(header), done)
    try:
        yield Journal(done, file)
    finally:
        if file is not None:
            with suppress(OSError):
                file.close()
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _started(path: Path, settings: Settings, done: Mapping[str, Any]) -> IO[bytes] | None:
    """The file, whole up to here; None where there is no place for one."""
    lines = [settings, *([unit, result] for unit, result in done.items())]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_files.write_file(b"".join(json.dumps(line).encode() + b"\n" for line in lines), path)
        return open(path, "ab")
    except OSError as error:
        reason = atomic_files.error_reason(error)
        logger.warning("an interrupted report could not go on, for %s: %s", path.parent, reason)
        return None


def _kept(path: Path, settings: Settings) -> dict[str, Any]:
    """The units in a file, up to the first line that is not whole."""
    lines = _lines(path)
    done: dict[str, Any] = {}
    if next(lines, None) == settings:
        for line in lines:
            match line:
                case [str(unit), result]:
                    done[unit] = result
                case _:
                    break
    return done


def _lines(path: Path) -> Iterator[Any]:
    with suppress(OSError, ValueError, RecursionError), open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _refuse_other_settings(folder: Path, settings: Settings) -> None:
    """Say how the latest interrupted report differs, where there is one."""
    with suppress(OSError):
        for path in sorted(folder.glob("*.jsonl"), key=os.path.getmtime, reverse=True):
            other = next(_lines(path), None)
            if isinstance(other, dict):
                raise UsageError(
                    "the interrupted report has other settings: "
                    f"{_differences(other, settings)}; give the same, or leave out --resume"
                )
    logger.info("there is no interrupted report to go on from; this one begins anew")


def _differences(before: Settings, now: Settings) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return "; ".join(
        f"{name.replace('_', ' ')} {shown(before.get(name))}, here {shown(now.get(name))}"
        for name in names
    )
