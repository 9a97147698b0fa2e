"""Standard error: notes, warnings and errors, one line each; and what a terminal can show."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any, TextIO

import typer

from corelm.printable import one_line, strip_controls

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["tell"]


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "": ("", {}),
    "note": ("", {"dim": True}),
    "warning": ("warning: ", {"fg": "yellow"}),
    "error": ("error: ", {"fg": "red"}),
}
"""The beginning and the style of the lines of each kind."""


def tell(text: str, kind: str = "") -> None:
    """Write one line, or a picture.

    Args:
        text: the line.
        kind: `note` is dim, `warning` and `error` begin with the word; an error explains why a
            command failed. A `picture`, such as a curve, keeps its lines and spaces.
    """
    if kind == "picture":
        _write(f"{strip_controls(text)}\n")
        return
    beginning, style = KINDS[kind]
    _say(f"{beginning}{text}", **style)


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


ENDLESS = 10_000


def is_plain(stream: TextIO) -> bool:
    """Return True if a stream gets neither colours nor control codes."""
    environ = os.environ
    dumb = environ.get("TERM") in ("dumb", "unknown")
    return not stream.isatty() or bool(environ.get("NO_COLOR")) or dumb


def console_for(stream: TextIO, width: int | None = None) -> Console:
    """Return a rich console without markup, and without colours if `is_plain` is true."""
    from rich.console import Console

    plain = is_plain(stream)
    return Console(
        file=stream,
        width=width,
        force_terminal=not plain,
        color_system=None if plain else "auto",
        force_jupyter=False,
        markup=False,
        emoji=False,
        highlight=False,
    )


class LineBreaker:
    """A breaker of lines between words, which arrive one after the other."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0

    def broken(self, text: str) -> str:
        """Return the text with a newline before each word that would not fit."""
        return "".join(self._place(*parts) for parts in re.findall(r"(\s*)(\S*)", text))

    def _place(self, gap: str, word: str) -> str:
        from rich.cells import cell_len

        # A word without a gap before it belongs to the last one, and must not be torn off.
        if gap and word and self._column + cell_len(gap + word) >= self._width:
            gap = "\n"
        before, newline, after = (gap + word).rpartition("\n")
        self._column = cell_len(after) + (0 if newline else self._column)
        return before + newline + after
