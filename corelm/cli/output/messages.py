"""Standard error: notes, warnings and errors, one line each."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterable
from typing import Any

import typer

from corelm.cli.output.terminal import LineBreaker, is_plain
from corelm.printable import one_line, strip_controls

__all__ = ["error", "note", "picture", "tell", "warn"]


def note(text: str) -> None:
    """Write one dim line."""
    _say(text, dim=True)


def tell(text: str) -> None:
    """Write one line."""
    _say(text)


def warn(text: str) -> None:
    """Write one warning."""
    _say(f"warning: {text}", fg="yellow")


def error(text: str) -> None:
    """Write the line that explains why a command failed."""
    _say(f"error: {text}", fg="red")


def picture(lines: Iterable[str]) -> None:
    """Write lines with their spaces, such as a curve."""
    _write("".join(f"{strip_controls(line)}\n" for line in lines))


def trace(text: str) -> None:
    """Write a traceback, without control characters."""
    _write(strip_controls(text))


def _say(text: str, **style: Any) -> None:
    line = one_line(text)
    # A file gets whole lines, which can be searched; only a terminal needs them broken.
    if sys.stderr is not None and sys.stderr.isatty():
        line = LineBreaker(shutil.get_terminal_size().columns).broken(line)
        line = typer.style(line, **style) if style and not is_plain(sys.stderr) else line
    _write(line + "\n")


def _write(text: str) -> None:
    """Write to standard error; a closed one is ignored."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
