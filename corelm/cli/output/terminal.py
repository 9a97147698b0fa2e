"""Terminals: no control characters, no markup, and colours only where they show."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

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
