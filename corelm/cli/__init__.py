"""The command line: the only place that imports typer or rich."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, TextIO, cast


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after `corelm`; by default the words of this process.
    """
    if arguments is None:
        _separate_output()
    try:
        from corelm.cli.app import run

        return run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:  # Ctrl-C during the imports
        return 130
    finally:
        if arguments is None:
            _end_output()


class _OfMainThread:
    """A stream for the main thread; other threads write to standard error instead."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        is_main = threading.current_thread() is threading.main_thread()
        return getattr(self._stream if is_main else sys.stderr, name)


def _separate_output() -> None:
    """Redirect descriptor 1 to standard error, and give `sys.stdout` a descriptor of its own.

    So a thread that a plugin starts can't write into the product. A terminal stays as it is: there,
    `input` edits lines only if `sys.stdout` is the terminal, and no document can be damaged.
    """
    if sys.stdout is None or sys.stderr is None or sys.stdout.isatty():
        return
    stdout = sys.stdout
    with contextlib.suppress(OSError, ValueError):
        own = open(os.dup(1), "w", encoding=stdout.encoding, errors=stdout.errors)  # noqa: SIM115
        os.dup2(2, 1)
        sys.stdout = cast("TextIO", _OfMainThread(own))


def _end_output() -> None:
    """Redirect `sys.stdout` to standard error: exit functions of plugins run later."""
    if sys.stdout is None or sys.stderr is None:
        return
    stdout, sys.stdout = sys.stdout, sys.stderr
    with contextlib.suppress(OSError, ValueError):
        stdout.flush()
        if isinstance(stdout, _OfMainThread):
            stdout.close()
