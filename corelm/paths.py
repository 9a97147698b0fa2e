"""Files and folders that users name: input to read, and the folder for models and data."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import BinaryIO

__all__ = ["home"]

PIPE_PATIENCE = 10.0
"""Seconds to wait for the program at the other end of a named pipe."""


def home() -> Path:
    """Return the user's folder for models and data; it is created when something is written."""
    setting = os.environ.get("CORELM_HOME")
    if setting:
        return Path(setting)
    from platformdirs import user_data_path

    return user_data_path("corelm", appauthor=False)


def open_input(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read; a named pipe too, if a program opens its other end.

    Raises:
        OSError: a file that cannot be opened, or a pipe without a writer for ten seconds.
    """
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return open(path, "rb")
    opened: list[BinaryIO] = []
    # Opening a pipe waits for the writer, without a time limit, so it runs in a thread.
    thread = threading.Thread(target=lambda: opened.append(open(path, "rb")), daemon=True)  # noqa: SIM115
    thread.start()
    thread.join(PIPE_PATIENCE)
    if not opened:
        reason = f"it is a pipe, and nobody has written into it for {PIPE_PATIENCE:g} seconds"
        raise OSError(errno.ETIMEDOUT, reason, os.fspath(path))
    return opened[0]
