"""Terminals: no control characters, no markup, and colours only where they show."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # all of C0 and C1 but tab and newline
    "\u202a-\u202e\u2066-\u2069]"  # what turns the direction of writing round
)
_SURROGATE = re.compile("[\ud800-\udfff]")
ENDLESS = 10_000


def clean(text: str) -> str:
    """The text without characters that a terminal obeys; tab and newline stay.

    Example:
        >>> clean("a\\x1b]52;c;bHM=\\x07b")
        'a]52;c;bHM=b'
    """
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", text))


def one_line(text: str) -> str:
    """The text cleaned, on one line."""
    return " ".join(clean(text).split())


def is_plain(stream: TextIO) -> bool:
    """Whether a stream gets neither colours nor control codes."""
    environ = os.environ
    dumb = environ.get("TERM") in ("dumb", "unknown")
    return not stream.isatty() or bool(environ.get("NO_COLOR")) or dumb


def console_for(stream: TextIO, width: int | None = None) -> Console:
    """A rich console that takes no text for markup, and is plain where `is_plain` says so."""
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
    """Breaks lines between words, as the words arrive."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0

    def broken(self, text: str) -> str:
        """The text with newlines where a word would pass the edge of the terminal."""
        return "".join(self._place(*parts) for parts in re.findall(r"(\s*)(\S*)", text))

    def _place(self, gap: str, word: str) -> str:
        from rich.cells import cell_len

        if gap and word and self._column + cell_len(gap + word) >= self._width:
            gap = "\n"
        before, newline, after = (gap + word).rpartition("\n")
        self._column = cell_len(after) + (0 if newline else self._column)
        return before + newline + after
