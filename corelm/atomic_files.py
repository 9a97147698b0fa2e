"""Read files of limited size; write files and folders whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from corelm.errors import ModelFileError, UsageError
from corelm.machine import backup_path, open_input
from corelm.text.lines import decode_text, dump_json, parse_json

PARTIAL = ".new"
"""The suffix of a file or folder while it is written."""

ABANDONED = 3600.0
"""Seconds without a change after which an unfinished file counts as abandoned."""


def read_buffer(file: Path, limit: int) -> memoryview:
    """Return the content of a file, read-only, in memory that NumPy allocated.

    NumPy requests huge pages for large arrays, which makes reading weights faster.

    Args:
        file: the path; only regular files are opened.
        limit: the most bytes.

    Raises:
        ModelFileError: with the reason alone; the caller adds the name of the file.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError("it isn't a regular file")
        if status.st_size > limit:
            raise ModelFileError(
                f"it has {status.st_size} bytes, more than the {limit} that are read"
            )
        buffer = np.empty(status.st_size, dtype=np.uint8).data
        with open(file, "rb") as opened:
            count = opened.readinto(buffer)
        return buffer[:count].toreadonly()
    except FileNotFoundError:
        raise ModelFileError("it is missing") from None
    except MemoryError as error:
        raise ModelFileError("it does not fit into memory") from error
    except (OSError, ValueError) as error:
        raise ModelFileError(f"it cannot be read: {error_reason(error)}") from error


def sha256(content: bytes | memoryview) -> str:
    """Return the checksum of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_files(files: Iterable[Path]) -> str:
    """Return the checksum of the names and contents of some files, in their order.

    Raises:
        ModelFileError: one cannot be read.
    """
    whole = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
            whole.update(f"{file.name}\n".encode("utf-8", "surrogatepass"))
            whole.update(_file_digest(file, status.st_size, status.st_mtime_ns))
        except OSError as error:
            raise ModelFileError(f"{str(file)!r} cannot be read: {error_reason(error)}") from error
    return whole.hexdigest()


@cache  # gigabytes take seconds, and several questions of one command need them
def _file_digest(file: Path, size: int, modified: int) -> bytes:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def error_reason(error: Exception) -> str:
    """Return the operating system's reason for an error, without its number and path."""
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Add the path to an operating system's error that names no file, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_folder(contents: Mapping[str, bytes], target: Path) -> None:
    """Write files into a new folder, which then replaces the old one in a single step.

    Args:
        contents: the files by name; a name may begin with folders, as in `assets/words.txt`.
        target: the folder.

    Raises:
        OSError: a full disk, a read-only place; an earlier folder is unchanged.
    """
    parent = target.parent
    if parent.exists() and not parent.is_dir():  # `mkdir` would say that the file exists
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(parent))
    parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target, older_than=ABANDONED)
    new = _partial_path(target)
    new.mkdir()
    try:
        for name, content in contents.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            with named_errors(target / name):
                _write_through(new / name, content)
        _sync(new)
        _replace(new, target)
        _sync(parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write_through(file: Path, content: bytes) -> None:
    """Write a new file to the disk: after a power cut, a rename may be there without it."""
    with open(file, "xb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def remove_leftovers(target: Path, older_than: float = 0.0) -> None:
    """Remove the unfinished files and folders that killed writers left next to a target.

    Args:
        target: the file or folder that they were to become.
        older_than: seconds since the last change; another process may still write younger ones.
    """
    name = rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}{re.escape(PARTIAL)}"
    with suppress(OSError):
        for path in [p for p in target.parent.iterdir() if re.fullmatch(name, p.name)]:
            if time.time() - path.stat().st_mtime < older_than:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make a folder, and test that files can be written into it.

    Raises:
        OSError: they cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = _partial_path(folder / "probe")
    probe.mkdir()
    probe.rmdir()


def _partial_path(target: Path) -> Path:
    import secrets

    # Next to the target: a rename between file systems would copy, and could be cut off.
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL}")


def _replace(new: Path, target: Path) -> None:
    old = backup_path(target)
    # `rename` cannot replace a folder that has files; in between, a reader finds the backup.
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    with suppress(OSError):  # some systems can't open or sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class SafeFile:
    """A file that is read up to a limit, and written whole or not at all.

    Args:
        path: the file.

    Example:
        >>> import tempfile
        >>> file = SafeFile(Path(tempfile.mkdtemp(), "run.json"))
        >>> file.write_json({"seed": 1})
        >>> file.text(limit=100), file.json(limit=100)
        ('{\\n  "seed": 1\\n}\\n', {'seed': 1})
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def open(self) -> BinaryIO:
        """Open it to read; a named pipe too, if a program opens its other end.

        Raises:
            OSError: it cannot be opened, or is a pipe without a writer for ten seconds.
        """
        return open_input(self._path)

    def read(self, limit: int) -> bytes:
        """Return its content, of at most `limit` bytes, if it is a regular file.

        Raises:
            ModelFileError: with the reason alone; the caller adds the name of the file.
        """
        return bytes(read_buffer(self._path, limit))

    def text(self, limit: int) -> str:
        """Return its content, which is UTF-8.

        Raises:
            ModelFileError: as `read`, and another encoding.
        """
        return decode_text(self.read(limit))

    def json(self, limit: int) -> dict[str, Any]:
        """Return the JSON object in it.

        Raises:
            ModelFileError: as `text`, and no JSON object, nan, infinity or deep nesting.
        """
        return parse_json(self.read(limit))

    def write(self, content: bytes) -> None:
        """Write a new file, which then replaces the old one in a single step.

        A pipe, a terminal and the like are written into. A link remains a link.

        Raises:
            OSError: a full disk, a read-only place; an earlier file is unchanged.
        """
        real = Path(os.path.realpath(self._path))
        # A pipe or a terminal cannot be replaced, and has no earlier content to lose.
        if real.exists() and not real.is_file():
            with named_errors(real):
                real.write_bytes(content)
            return
        remove_leftovers(real, older_than=ABANDONED)
        new = _partial_path(real)
        try:
            with named_errors(real):
                _write_through(new, content)
            new.replace(real)
            _sync(real.parent)
        finally:
            new.unlink(missing_ok=True)

    def write_json(self, value: Any) -> None:
        """Write a value in corelm's form of JSON, as `write` does.

        Raises:
            OSError: as `write`.
            ValueError, TypeError: a value that JSON cannot hold, such as nan.
        """
        self.write(dump_json(value))

    def remove_leftovers(self) -> None:
        """Remove the unfinished files and folders that killed writers of it left."""
        remove_leftovers(self._path)

    def check_free(self, overwrite: bool) -> None:
        """Raise if a file or folder exists and is not to be replaced.

        Raises:
            UsageError: it exists.
        """
        if os.path.lexists(self._path) and not overwrite:
            raise UsageError(
                f"{str(self._path)!r} already exists; choose another name, or replace it with "
                "--overwrite (overwrite=True in Python)"
            )

    @contextmanager
    def lock(self, remove: bool = False) -> Iterator[bool]:
        """Hold it as a lock; yield False if another process holds it.

        Args:
            remove: remove the file afterwards.

        Raises:
            OSError: the file cannot be written.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp(), "run.lock")
            >>> with SafeFile(path).lock(remove=True) as first, SafeFile(path).lock() as second:
            ...     first, second
            (True, False)
            >>> path.exists()
            False
        """
        # Imported late: it takes 5 % of the time of a short command, and reading needs no lock.
        from filelock import FileLock, Timeout

        lock = FileLock(self._path)
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
                    # Before the release: after it, another process may hold the file.
                    os.unlink(self._path)
            lock.release()
