"""Run the units of work of a report, and keep finished ones in a journal, to resume from.

A report consists of units of work that depend only on the settings; an executor runs them on any
number of workers. Each finished unit is a line of the journal: a checksum, then JSON. The checksum
covers the settings too, so that a line of another report is rejected.

Studies store their units in a `UnitCache` instead, by content. Here it would keep every report's
units until it is full, and measure silently again where a journal says what differs or is damaged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from corelm.errors import PluginError, SamplerError, UsageError
from corelm.runs import SafeFile, machine, scaling

if TYPE_CHECKING:
    from corelm_report.plan.plan import RunUnits

FOLDER = "reports"
LIFETIME = 30 * 86_400
"""The seconds after which another report removes an interrupted report's journal."""
DIGITS = 16
"""The length of a checksum in hexadecimal digits."""
logger = logging.getLogger("corelm")

Settings = Mapping[str, Any]
Result = dict[str, Any]
"""The result of a unit of work, as the journal stores it."""
Progress = Callable[[str, int, int], None]
"""A function that is called with a stage, its finished units and its total of units."""
AnyUnit = TypeVar("AnyUnit", bound=scaling.Unit)


class Stages:
    """Run the unfinished units of a report, stage by stage.

    Args:
        run: runs the units of work.
        journal: the units that are finished.
        progress: called at every unit.
    """

    def __init__(self, run: RunUnits, journal: Journal, progress: Progress) -> None:
        self._run, self._journal, self.progress = run, journal, progress

    def results(
        self,
        stage: str,
        units: Iterable[AnyUnit],
        total: int,
        model: int = 0,
    ) -> Iterator[tuple[AnyUnit, Any]]:
        """Yield units with their results, in order; run only units that aren't in the journal.

        Units are taken one by one, so the caller may skip units because of earlier results.

        Args:
            stage: the name of the stage.
            units: the units.
            total: the number of units.
            model: the index of their model in the report's.
        """
        # Results arrive in any order, but are yielded in the order of the units, so that a report
        # is the same on any number of workers.
        order: deque[AnyUnit] = deque()
        results: dict[str, Any] = {}
        journal, done = self._journal, 0

        def missing() -> Iterator[AnyUnit]:
            nonlocal done
            for unit in units:
                order.append(unit)
                if unit.name not in journal:
                    yield unit
                else:
                    done += 1

        def in_order() -> Iterator[tuple[AnyUnit, Any]]:
            while order and ((name := order[0].name) in results or name in journal):
                yield order.popleft(), results.pop(name) if name in results else journal.take(name)

        self.progress(stage, 0, total)
        for unit, result in self._run(missing(), model):
            results[unit.name] = journal.keep(unit.name, result)
            done += 1
            self.progress(stage, done, total)
            yield from in_order()
        self.progress(stage, total, total)
        yield from in_order()

    def result(self, unit: scaling.Unit) -> Any:
        """Return the result of a unit that is a stage of its own."""
        return next(self.results(unit.name, [unit], 1))[1]


def failure(error: Exception) -> Result:
    """Return the record of a sampler that failed; only its figures are missing from the report."""
    return {"error": {"type": type(error).__name__, "message": str(error)}}


def attempted(work: Callable[[], Any]) -> dict[str, Any]:
    """Return the value of one sampler's work, or the error that stopped it."""
    try:
        return {"value": work()}
    except (SamplerError, PluginError, UsageError) as error:
        return failure(error)


class Journal:
    """The finished units of a report, by name. Without a file, new ones are not stored.

    Args:
        done: the results of units that are already finished.
        file: the file to which each unit is appended when it is finished.
        key: the checksum of the settings.

    Example:
        >>> journal = Journal({"a unit": [1, 2]})
        >>> "a unit" in journal, journal.take("a unit")
        (True, [1, 2])
        >>> journal.keep("a second unit", "[3, 4]")
        [3, 4]
    """

    def __init__(
        self, done: dict[str, Any] | None = None, file: IO[bytes] | None = None, key: bytes = b""
    ) -> None:
        self._done = dict(done or {})
        self._file = file
        self._key = key

    def __contains__(self, unit: str) -> bool:
        return unit in self._done

    def take(self, unit: str) -> Any:
        """Return and drop the result of a finished unit, which may be large."""
        return self._done.pop(unit)

    def keep(self, unit: str, result: str) -> Any:
        """Store the result of a unit, given as JSON, and return its value."""
        # Read back from the text, so that a resumed report gets exactly the same value.
        if self._file is not None:
            try:
                self._file.write(_line(self._key, f"[{json.dumps(unit)}, {result}]".encode()))
                self._file.flush()
            except OSError as error:
                reason = error.strerror or error
                logger.warning("finished work can no longer be saved: %s", reason)
                self._file = None
        return json.loads(result)


@contextmanager
def opened(settings: Settings, resume: bool) -> Iterator[Journal]:
    """Open the journal of a report; remove it at the end unless something fails.

    Only one process at a time writes the journal of the same settings. A second one keeps its
    units in memory.

    Args:
        settings: everything that the report depends on, as JSON can hold it.
        resume: True to start from the journal that is there; False to replace it.

    Raises:
        UsageError: to resume, and the journal is damaged or has other settings; or it isn't a file.
    """
    # Through JSON and back, so that they compare as they will be read: with lists for tuples.
    header = json.dumps(json.loads(json.dumps(dict(settings), allow_nan=False))).encode()
    key = _checksum(b"", header)
    path = machine.home() / FOLDER / f"{key.decode()}.jsonl"
    if path.exists() and not path.is_file():  # reading a pipe or a device may never end
        raise UsageError(f"the journal {str(path)!r} is not a file; delete it")
    _remove_old(path.parent, path)
    done = _finished(path, header, key) if resume else {}
    if resume and not path.exists():
        _refuse_other_settings(path.parent, json.loads(header))
    with ExitStack() as stack:
        file = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = SafeFile(path.with_suffix(".lock")).lock(remove=True)
            if stack.enter_context(lock):
                file = _started(path, header, key, done)
            else:
                logger.warning(
                    "another process is making the same report, so this one cannot be resumed"
                )
        except OSError as error:
            reason = error.strerror or error
            logger.warning(
                "the report cannot be resumed if interrupted: %s: %s", path.parent, reason
            )
        try:
            yield Journal(done, file, key)
        finally:
            if file is not None:
                with suppress(OSError):
                    file.close()
        # Only if nothing was raised: an interrupted report keeps its journal.
        if file is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _remove_old(folder: Path, own: Path) -> None:
    """Remove the journals of reports that were interrupted long ago, unless one is in use."""
    with suppress(OSError):
        for path in folder.glob("*.jsonl"):
            if path != own and path.is_file() and time.time() - path.stat().st_mtime > LIFETIME:
                with SafeFile(path.with_suffix(".lock")).lock(remove=True) as alone:
                    if alone:
                        path.unlink(missing_ok=True)


def _started(path: Path, header: bytes, key: bytes, done: Mapping[str, Any]) -> IO[bytes]:
    """Write the journal so far and open it to append."""
    # Rewritten, because the last line of the old file may be torn.
    units = (_line(key, json.dumps([unit, result]).encode()) for unit, result in done.items())
    SafeFile(path).write(b"".join([_line(b"", header), *units]))
    return open(path, "ab")


def _line(key: bytes, body: bytes) -> bytes:
    return b"%s %s\n" % (_checksum(key, body), body)


def _checksum(key: bytes, body: bytes) -> bytes:
    return hashlib.sha256(key + body).hexdigest()[:DIGITS].encode()


def _body(key: bytes, line: bytes) -> bytes | None:
    """Return the JSON of a line, or None if the line is not whole or not of this journal."""
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    return body if line.endswith(b"\n") and checksum == _checksum(key, body) else None


def _finished(path: Path, header: bytes, key: bytes) -> dict[str, Any]:
    """Read the units of a journal, except a last line that a killed process left incomplete.

    Raises:
        UsageError: a damaged line before the last one.
    """
    done: dict[str, Any] = {}
    damaged = 0
    with suppress(OSError), open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            # A kill during a write tears the last line only: a bad line before others is damage.
            if damaged:
                raise UsageError(
                    f"line {damaged} of the journal {str(path)!r} is damaged or of another report; "
                    "leave out --resume to start again"
                )
            body = _body(key if number > 1 else b"", line)
            if number == 1:
                damaged = int(body != header)
            elif (unit := _unit(body)) is None:
                damaged = number
            else:
                done[unit[0]] = unit[1]
    return done


def _unit(body: bytes | None) -> tuple[str, Any] | None:
    """Return the unit and its result from the JSON of a line; None if it is invalid."""
    with suppress(ValueError, RecursionError):
        match json.loads(body or b""):
            case [str(unit), result]:
                return unit, result
    return None


def _refuse_other_settings(folder: Path, settings: Settings) -> None:
    """Raise if there is an interrupted report with other settings, and name the difference.

    Raises:
        UsageError: there is such a report.
    """
    with suppress(OSError):
        for path in sorted(folder.glob("*.jsonl"), key=os.path.getmtime, reverse=True):
            if not path.is_file():
                continue
            with open(path, "rb") as file:
                header = _body(b"", file.readline())
            if header is not None:
                raise UsageError(
                    "the interrupted report has other settings: "
                    f"{scaling.differences(json.loads(header), settings)}; give the same ones, or "
                    "leave out --resume"
                )
    logger.info("no interrupted report to resume: starting from the beginning")
