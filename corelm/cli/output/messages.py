"""Standard error: notes, warnings and errors, one line each."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import Any

import typer

from corelm.cli.output.terminal import LineBreaker, clean, is_plain, one_line


def note(text: str) -> None:
    """One line for the person at the terminal, on standard error."""
    _say(text, dim=True)


def tell(text: str) -> None:
    """One line that is worth reading, on standard error."""
    _say(text)


def warn(text: str) -> None:
    """One warning on standard error."""
    _say(f"warning: {text}", fg="yellow")


def complain(text: str) -> None:
    """The one line that says why a command failed."""
    _say(f"error: {text}", fg="red")


def trace(text: str) -> None:
    """A traceback, as it is but for what a terminal obeys."""
    _write(clean(text))


def _say(text: str, **style: Any) -> None:
    line = one_line(text)
    if sys.stderr is not None and sys.stderr.isatty():
        line = LineBreaker(shutil.get_terminal_size().columns).broken(line)
        line = typer.style(line, **style) if style and not is_plain(sys.stderr) else line
    _write(line + "\n")


def _write(text: str) -> None:
    """Write to standard error; where nobody can read it, nobody is told."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
