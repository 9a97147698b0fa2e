"""Standard output, for the product of a command alone; standard error, for lines and progress."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import typer

from corelm.errors import CorelmError
from corelm.lazy import cached_property
from corelm.registry.loading import stdout_to_stderr, unclosable
from corelm.text.printable import ENDLESS, one_line, strip_controls

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, ProgressColumn, TaskID

    class ShowStage(Protocol):
        """A function that shows how far a stage of a task is."""

        def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
            """Show a stage.

            Args:
                stage: its name.
                done: the finished units of it.
                total: all its units; None if their number is unknown.
                note: a short text next to the count, such as a loss.
            """


__all__ = ["stages", "tell"]
"""The public names of `corelm.commands.messages`."""


SIMILAR = {"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-"}
"""The signs of numbers, and their substitutes in an encoding that lacks them."""
SIMILAR_CHARACTERS = "corelm.similar"
"""The error handler of streams, which replaces characters that their encoding lacks."""


def _similar(error: UnicodeError) -> tuple[str, int]:
    """Return similar characters, or question marks, and where encoding continues."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(SIMILAR.get(each, "?") for each in missing), error.end


codecs.register_error(SIMILAR_CHARACTERS, _similar)


class Output:
    """The standard output of a command."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal: bool = stream.isatty()
        self._plain = is_plain(stream)
        self._breaker = LineBreaker(shutil.get_terminal_size().columns)

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator[Output]:
        """Yield the output of a command; everything that plugins write goes to standard error.

        Raises:
            CorelmError: standard output is closed, or a plugin asked to end the program.
        """
        stream = sys.stdout
        if stream is None:
            raise CorelmError("standard output is closed: there is nowhere to write to")
        # Plugins write to `sys.stdout` or to descriptor 1; the product has a descriptor of its own.
        with (
            stdout_to_stderr() as descriptor,
            _undisturbed(stream, descriptor) as undisturbed,
            contextlib.redirect_stdout(unclosable(sys.stderr)),
        ):
            try:
                yield cls(undisturbed)
            except SystemExit as error:
                raise CorelmError(
                    f"a plugin asked to end the program (SystemExit: {error})"
                ) from error

    def text(self, text: str, **style: Any) -> None:
        """Write text at once; on a terminal, lines break between words."""
        text = strip_controls(text)
        if self.terminal:
            text = self._breaker.broken(text)
        self.document(self.styled(text, **style))

    def styled(self, text: str, **style: Any) -> str:
        """Return a text with the codes of its style around its words, if codes are written."""
        words = text.strip()
        if self._plain or not style or not words:
            return text
        before, _, after = text.partition(words)  # spaces are not underlined
        return before + typer.style(words, **style) + after

    def set_color(self, mode: str) -> None:
        """Write colours and other styles: always, never, or where they show ("auto")."""
        if mode != "auto":
            self._plain = mode == "never"

    def json(self, document: Any) -> None:
        """Write one strict JSON document in ASCII; other characters are escaped."""
        self.document(json.dumps(strict(document), indent=2, allow_nan=False) + "\n")

    def document(self, content: str) -> None:
        """Write a text as it is."""
        try:
            self.stream.write(content)
            self.stream.flush()  # before later messages on standard error
        except OSError as error:
            error.filename = "standard output"
            raise

    @property
    def endless(self) -> bool:
        """True if lines may have any length, as in a file that another program reads."""
        return not self.terminal and not os.environ.get("COLUMNS")

    def rows(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; if it does not fit, write its columns below each other."""
        from corelm.cli.output import blocks

        table = blocks.table(headers, rows)
        if self.endless:
            self._write(console_for(self.stream, ENDLESS), table)
        elif blocks.width(self._console, table) <= self.width:
            self.show(table)
        else:
            self.show(blocks.below_each_other(headers, rows))

    def show(self, *blocks: RenderableType) -> None:
        """Write paragraphs and tables, no wider than the terminal."""
        for block in blocks:
            self._write(self._console, block)

    def page(self, content: Iterable[RenderableType]) -> None:
        """Write paragraphs and tables without the empty lines at their end."""
        blocks = [*content]
        while blocks and getattr(blocks[-1], "plain", None) == "":
            blocks.pop()
        self.show(*blocks)

    def _write(self, console: Console, block: RenderableType) -> None:
        with console.capture() as capture:
            console.print(block)
        # rich pads every line to the width of its table.
        self.document(re.sub(" +$", "", capture.get(), flags=re.MULTILINE))

    @property
    def width(self) -> int:
        """The number of characters in a line."""
        return self._console.width

    @property
    def unicode(self) -> bool:
        """True if block characters can be written."""
        return self._console.encoding.startswith("utf")

    @cached_property
    def _console(self) -> Console:
        return console_for(self.stream)


def strict(value: Any) -> Any:
    """Return the value for JSON; numbers that are not finite become null."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    return value


@contextlib.contextmanager
def _undisturbed(stream: TextIO, descriptor: int | None) -> Iterator[TextIO]:
    """Yield a stream like this one to a descriptor that plugins do not write to."""
    # Another stream, as in tests, has no descriptor that would have been redirected.
    if descriptor is None or stream is not sys.__stdout__:
        yield stream
        stream.flush()
        return
    copy = open(descriptor, "w", encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115
    try:
        yield copy
    except BaseException:
        with contextlib.suppress(OSError):  # closing writes again what could not be written
            copy.close()
        raise
    copy.close()


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
            command failed. A `picture`, such as a curve or a traceback, keeps its lines and
            spaces.
    """
    if kind == "picture":
        _write(f"{strip_controls(text)}\n")
        return
    beginning, style = KINDS[kind]
    line = one_line(f"{beginning}{text}")
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


# ---- progress ----

WARM_UP = 5
"""The steps of a stage before its time is estimated: the first ones may load or compile."""


def bar_moves() -> bool:
    """Return True if standard error can show a moving bar."""
    return sys.stderr is not None and not is_plain(sys.stderr)


@contextlib.contextmanager
def stages(counted: str = "bytes", lines: int = 0) -> Iterator[ShowStage]:
    """Yield a function that shows the stages of a task: a bar for each, or lines.

    Args:
        counted: the unit; "bytes" are shown as sizes, everything else as a share of the total.
        lines: where no bar can move, the number of lines for each stage, with the time left; 0 for
            one line when it begins.
    """
    if not bar_moves():
        yield _Lines(counted, lines)
        return
    from rich import progress

    count: ProgressColumn = progress.DownloadColumn()
    if counted != "bytes":
        count = progress.MofNCompleteColumn() if lines else progress.TaskProgressColumn()
    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        count,
        progress.TextColumn("{task.fields[note]}", markup=False),
        progress.TimeRemainingColumn(),
        console=console_for(sys.stderr),
        transient=True,
    ) as bars:
        yield _Bars(bars)


class _Bars:
    """A bar for each stage."""

    def __init__(self, bars: Progress) -> None:
        self._shown = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._shown.add_task(stage, total=total, note=note)
        self._shown.update(self._tasks[stage], completed=done, total=total, note=note)


class _Lines:
    """Lines in place of bars: one for each stage that begins, or some as it goes on."""

    def __init__(self, counted: str, lines: int) -> None:
        self._counted, self._lines = counted, lines
        self._stage = ""
        self._first = 0, 0.0

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage != self._stage:
            self._stage = stage
            self._first = done, time.monotonic()
            if not self._lines:  # a log needs no line for each percent
                tell(f"{stage} ...", "note")
        if self._lines and total is not None:
            self._count(done, total, note)

    def _count(self, done: int, total: int, note: str) -> None:
        first, began = self._first
        left = ""
        if done > first:
            seconds = (time.monotonic() - began) / (done - first) * (total - done)
            left = f"{duration(seconds)} left"
        if done - first == WARM_UP and total > done + self._lines:
            tell(f"about {left}", "note")
        if done % -(-total // self._lines) == 0:
            parts = (f"{self._counted} {done} of {total}", note, left)
            tell(", ".join(filter(None, parts)), "note")


def duration(seconds: float) -> str:
    """Format a time as minutes and seconds, such as 12:05, or hours, such as 3 h 20 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
