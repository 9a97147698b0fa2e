"""What is written where: the product to standard output, all else to standard error.

Nothing that is written here can command a terminal: control characters are taken out, markup
is off, and there are no colours where nobody would see them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

import typer

from corelm.errors import CorelmError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

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


class Output:
    """Where the product of a command goes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self._plain = is_plain(stream)
        self._breaker = _LineBreaker(shutil.get_terminal_size().columns)

    def text(self, text: str, **style: bool) -> None:
        """Write text at once; a terminal gets its lines broken between words."""
        text = clean(text)
        if self.terminal:
            text = self._breaker.broken(text)
        self.stream.write(typer.style(text, **style) if style and not self._plain else text)
        self.stream.flush()

    def json(self, document: Any) -> None:
        """Write one strict JSON document, in ASCII: what is not becomes an escape."""
        self.stream.write(json.dumps(strict(document), indent=2, allow_nan=False) + "\n")

    @property
    def endless(self) -> bool:
        """Whether lines may have any length, as in a file that something else will read."""
        return not self.terminal and not os.environ.get("COLUMNS")

    def rows(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; where it does not fit, its columns below each other."""
        from corelm.cli import blocks

        table = blocks.table(headers, rows)
        if self.endless:
            self._write(console_for(self.stream, ENDLESS), table)
        elif blocks.width(self._console, table) <= self.width:
            self.show(table)
        else:
            self.show(blocks.stacked(headers, rows))

    def show(self, *blocks: RenderableType) -> None:
        """Write paragraphs and tables, no wider than the terminal."""
        for block in blocks:
            self._write(self._console, block)

    def _write(self, console: Console, block: RenderableType) -> None:
        with console.capture() as capture:
            console.print(block)
        self.stream.write(re.sub(" +$", "", capture.get(), flags=re.MULTILINE))

    @property
    def width(self) -> int:
        """Characters in a line."""
        return self._console.width

    @property
    def unicode(self) -> bool:
        """Whether blocks and lines can be drawn."""
        return self._console.encoding.startswith("utf")

    @cached_property
    def _console(self) -> Console:
        return console_for(self.stream)


class _LineBreaker:
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


def strict(value: Any) -> Any:
    """The value for JSON, where a number that is not finite is null."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    return value


@contextlib.contextmanager
def product() -> Iterator[Output]:
    """The output of a command. What plugins print meanwhile goes to standard error.

    Raises:
        CorelmError: there is no standard output, or a plugin asked to end the program.
    """
    stream = sys.stdout
    if stream is None:
        raise CorelmError("standard output is closed: there is nowhere to write to")
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield Output(stream)
        except SystemExit as error:
            raise CorelmError(f"a plugin asked to end the program (SystemExit: {error})") from error
    stream.flush()


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
        line = _LineBreaker(shutil.get_terminal_size().columns).broken(line)
        line = typer.style(line, **style) if style and not is_plain(sys.stderr) else line
    _write(line + "\n")


def _write(text: str) -> None:
    """Write to standard error; where nobody can read it, nobody is told."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
