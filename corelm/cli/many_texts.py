"""Write many texts into a file, with progress and a count of the reasons why they ended.

The file grows line by line under another name until it is whole, so that an interrupted command can
continue it.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from corelm import atomic_files
from corelm.cli.output import messages
from corelm.cli.output.messages import stages
from corelm.cli.output.texts import SampleRequest
from corelm.errors import MissingDependencyError, ModelFileError, UsageError
from corelm.generation.generate import BATCH
from corelm.models import NamedModel
from corelm.scaling.dependencies import Dependencies
from corelm.scaling.executor import Executor
from corelm.scaling.job import differences
from corelm.scaling.text_batches import in_order, settings_of, units_of
from corelm.text.printable import counted


@dataclass(frozen=True)
class Destination:
    """The file of `--output`, and how it is written.

    Attributes:
        path: the file.
        executor: the executor that draws the texts.
        resume: True to continue an unfinished file.
    """

    path: Path
    executor: Executor
    resume: bool

    def stored_seed(self) -> int | None:
        """Return the seed of the file that is to be continued; None if there is none."""
        stored = stored_settings(self.path) if self.resume else None
        seed = (stored or {}).get("seed")
        return seed if isinstance(seed, int) else None

    def write(self, request: SampleRequest) -> None:
        """Write the texts of a request."""
        model, texts = request.model, request.texts
        things = [each for each in texts.strategy if each is not None]
        settings = {
            "corelm": version("corelm"),
            "numpy": np.__version__,
            "model": request.model_name,
            "weights of the model": NamedModel(model).fingerprint(),
            "code": Dependencies([model, *things]).code,
            **settings_of(texts, request.prompts),
        }
        executor = self.executor.opened([model], Dependencies(things))
        with opened(self.path, settings, self.resume) as file:
            if file.written:
                messages.tell(f"continuing after {counted(file.written, 'text')}", "note")
            with executor as run, stages("units") as progress:
                progress("texts", file.written, request.total)
                for lines in in_order(run, units_of(texts, file.written, request.prompts)):
                    file.add(json.loads(lines))
                    progress("texts", file.written, request.total)
        counts = ", ".join(f"{count} {reason}" for reason, count in file.reasons.most_common())
        messages.tell(f"finish reasons: {counts}", "note")
        messages.tell(f"written to {self.path}", "note")


SUFFIX = ".parquet"
ROWS = 2**14
"""The number of texts in a Parquet row group; no more are in memory at a time."""

PART = ".part"
"""The end of the name of a file that isn't whole."""
LIMIT = 2**24
"""The largest size of stored settings, in bytes."""
LONGEST = 2**26
"""The longest line of a text, in bytes."""
logger = logging.getLogger("corelm")


class TextFile:
    """A file that grows in order; `opened` makes it.

    Attributes:
        written: the number of texts in it.
        reasons: the number of texts for each finish reason.
    """

    def __init__(self, file: FileIO, written: int, reasons: Counter[str]) -> None:
        self._file = file
        self.written = written
        self.reasons = reasons

    def add(self, lines: Sequence[str]) -> None:
        """Append the lines of the texts that follow, all at once."""
        content = memoryview("".join(f"{line}\n" for line in lines).encode())
        with atomic_files.named_errors(Path(self._file.name)):
            while content:
                content = content[self._file.write(content) :]
        self.written += len(lines)
        self.reasons.update(json.loads(line)["finish_reason"] for line in lines)

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        with atomic_files.named_errors(Path(self._file.name)):
            os.fsync(self._file.fileno())


def stored_settings(path: Path) -> dict[str, Any] | None:
    """Return the settings of the unfinished file of this name; None if there is none."""
    try:
        return atomic_files.SafeFile(_settings_of(path)).json(LIMIT)
    except ModelFileError:
        return None


@contextmanager
def opened(path: Path, settings: Mapping[str, Any], resume: bool) -> Iterator[TextFile]:
    """Open a file of texts, which gets its final name at the end if nothing fails.

    Until then its name ends in `.part`, and it holds lines of JSON. At the end, a `.parquet` file
    is converted from these lines.

    Args:
        path: the file.
        settings: everything that the texts depend on, as JSON can hold it; `samples` is the number
            of texts of a prompt.
        resume: True to continue the unfinished file, if there is one.

    Raises:
        UsageError: a path that isn't a file's, an unfinished file that isn't to be continued or
            has other settings, or one that another process writes.
        MissingDependencyError: pyarrow is not installed, for Parquet.
        OSError: a full disk, a read-only place.
    """
    _check(path)
    part = path.with_name(path.name + PART)
    with _locked(part):
        if part.exists() and not resume:
            raise UsageError(
                f"{part} is unfinished: continue it with --resume, or delete it to start again"
            )
        now = json.loads(json.dumps(settings))
        before = stored_settings(path) if part.exists() else None
        if before is not None and before != now:
            raise UsageError(
                f"the unfinished {path} has other settings: {differences(before, now)}; give the "
                "same ones, or leave out --resume"
            )
        if before is None:
            part.unlink(missing_ok=True)
            atomic_files.SafeFile(_settings_of(path)).write_json(now)
        try:
            with _growing(part, settings["n"]) as file:
                yield file
            if path.suffix == SUFFIX:
                _convert(part, path)
                part.unlink()
            else:
                part.replace(path)
            _settings_of(path).unlink(missing_ok=True)
        except BaseException:
            logger.info("the finished texts are kept; --resume continues the file")
            raise


@contextmanager
def _growing(part: Path, n: int) -> Iterator[TextFile]:
    """Open an unfinished file after its last whole batch; sync it if nothing fails."""
    size, written, reasons = _whole(part, n)
    with open(part, "ab", buffering=0) as file:  # a buffer would write again when it is closed
        file.truncate(size)
        texts = TextFile(file, written, reasons)
        yield texts
        texts.sync()


def _settings_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{PART}.json")


def _check(path: Path) -> None:
    part = path.parent / f"{path.name}{PART}"
    for place in (path, part):  # reading a device never ends
        if place.exists() and not place.is_file():
            raise UsageError(f"{str(place)!r} is not a file, so texts cannot be written into it")
    for work in (part, _settings_of(path), _lock_of(part)):
        if work.is_symlink():  # another user may have made it to overwrite the target
            raise UsageError(
                f"{str(work)!r} is a link, and unfinished texts are written into files of their "
                "own; delete it"
            )
    if not path.parent.is_dir():
        raise UsageError(f"cannot write to {str(path)!r}: {path.parent} is not a folder")
    if path.suffix == SUFFIX:
        _check_pyarrow()


def _lock_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.lock")


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    with atomic_files.SafeFile(_lock_of(part)).lock(remove=True) as is_mine:
        if not is_mine:
            raise UsageError(f"another process writes {part}")
        yield


def _whole(part: Path, n: int) -> tuple[int, int, Counter[str]]:
    """Return the size in bytes, the number and the finish reasons of the texts in whole batches.

    A killed process may leave a part of a batch, and a torn line.
    """
    size, whole, reasons, batch = 0, 0, Counter[str](), Counter[str]()
    end = 0
    with suppress(FileNotFoundError), atomic_files.SafeFile(part).open() as file:
        for number, line in enumerate(iter(partial(file.readline, LONGEST), b"")):
            reason = _reason(line, number % n)
            if reason is None:
                break
            end += len(line)
            batch[reason] += 1
            if (number + 1) % BATCH == 0:
                size, whole = end, number + 1
                reasons += batch
                batch.clear()
    return size, whole, reasons


def _reason(line: bytes, sample: int) -> str | None:
    """Return the finish reason of the text in a line; None if it isn't the line of this sample."""
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        text = json.loads(line)
        if line.endswith(b"\n") and text["sample"] == sample:
            return str(text["finish_reason"])
    return None


def _check_pyarrow() -> None:
    """Raise if pyarrow is missing, before any text is written.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"a .parquet file needs pyarrow ({error}); install it with: pip install "
            "'corelm[parquet]', or give a .jsonl file"
        ) from error


def _convert(lines: Path, target: Path) -> None:
    """Write a Parquet file from lines of JSON, whole or not at all.

    Args:
        lines: the file that `TextFile` has written.
        target: the Parquet file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [
            ("prompt", pa.string()),
            ("sample", pa.int64()),
            ("text", pa.string()),
            ("finish_reason", pa.string()),
            ("is_cut_off", pa.bool_()),
            ("tokens", pa.list_(pa.int32())),
        ]
    )
    new = target.with_name(f".{target.name}.new")
    try:
        with atomic_files.named_errors(target):
            with (
                parquet.ParquetWriter(new, schema, compression="zstd") as writer,
                open(lines, encoding="utf-8") as file,
            ):
                while rows := [json.loads(line) for line in islice(file, ROWS)]:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            new.replace(target)
    finally:  # the lines are still there to write it again
        new.unlink(missing_ok=True)
