"""Show objects: tables, bars and coloured words in a notebook, text in a terminal.

Nothing in the HTML runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from corelm.text.printable import SURPRISAL_SCALE, aligned, strip_controls

__all__ = ["Displayable", "Table"]

SHADES = ((0.0, 0), (0.04, 1), (0.1, 1.5), (0.17, 2.5), (0.25, 3.5), (0.34, 4.5))
"""The strength of the background at each level, and the pixels of the line under the word, so that
colour isn't the only sign; as in `pages/shared.css`."""
TINT = "0, 150, 136"
BAR = "linear-gradient(#26968a, #26968a) 0 100% / {0:.2f}em 4px no-repeat"
"""A line below a number. Its length is not a share of the column, since columns differ in width."""
WIDEST = 6
"""The length of the bar of probability 1, in em."""

NUMBER = re.compile(r"[-+\N{MINUS SIGN}]?[\d.,]+(%| pp)?|-")


class Word(NamedTuple):
    """A word with its surprisal and the text of its card, which is shown on hover."""

    text: str
    surprisal: float
    card: str


def _escaped(text: str) -> str:
    from html import escape  # late: most runs show no HTML, and its table takes a millisecond

    return escape(text)


def _word(word: Word) -> str:
    own = word.text.lstrip(" ")
    text = _escaped(own).replace("\n", "&crarr;<br>")
    card = _escaped(word.card)
    tint, line = SHADES[SURPRISAL_SCALE.level(word.surprisal)]
    style = (
        f' style="background: rgba({TINT}, {tint}); border-bottom: {line}px solid #26968a"'
        if line
        else ""
    )
    # The space before a word has no line under it.
    return f'{word.text[: -len(own) or None]}<span title="{card}"{style}>{text}</span>'


class Part(Protocol):
    """A part of an object's display, as HTML and as text."""

    def html(self) -> str:
        """Return HTML, in which every text is escaped."""

    def text(self) -> str:
        """Return text without control characters."""


class Table(NamedTuple):
    """A table; a cell with a number from 0 to 1 is a probability, with a bar of that width.

    Example:
        >>> cells = Table(["word", "p"], [["<", 0.5]])
        >>> print(cells.text())
        word      p
        <     50.0%
        >>> Table(["a"], [["<"]]).html()
        '<table><tr><th>a</th></tr><tr><td style="text-align: left">&lt;</td></tr></table>'
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    caption: str = ""

    def html(self) -> str:
        """Return the table as HTML."""
        title = f"<caption>{_escaped(self.caption)}</caption>" if self.caption else ""
        head = "".join(f"<th>{_escaped(header)}</th>" for header in self.headers)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in self.rows)
        return f"<table>{title}<tr>{head}</tr>{body}</table>"

    def text(self) -> str:
        """Return the table as lines, numbers to the right."""
        body = [[each if isinstance(each, str) else f"{each:.1%}" for each in r] for r in self.rows]
        columns = [_column(cells) for cells in zip(self.headers, *body, strict=True)]
        lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
        return "\n".join([*([strip_controls(self.caption)] if self.caption else []), *lines])


def _column(cells: Sequence[str]) -> list[str]:
    """Return cells of equal width; the first one is the header."""
    cells = [strip_controls(cell).replace("\n", " ") for cell in cells]
    if len(cells) > 1 and all(NUMBER.fullmatch(cell) for cell in cells[1:]):
        return aligned(cells)
    width = max(map(len, cells))
    return [cell.ljust(width) for cell in cells]


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        align = "right" if NUMBER.fullmatch(value) else "left"
        return f'<td style="text-align: {align}">{_escaped(value)}</td>'
    style = f"text-align: right; min-width: {WIDEST}em; background: {BAR.format(WIDEST * value)}"
    return f'<td style="{style}">{value:.1%}</td>'


class Passage(NamedTuple):
    """A prompt and the words after it, with a note below.

    Example:
        >>> print(Passage("the", [Word(" cat", 0.5, "0.50 nats")], "seed 1").text())
        the cat
        seed 1
    """

    prompt: str
    words: Sequence[Word]
    note: str

    def html(self) -> str:
        """Return the words in the colours of their surprisal."""
        whole = f"<b>{_escaped(self.prompt)}</b>{''.join(map(_word, self.words))}"
        return _paragraph(whole) + _paragraph(f"<small>{_escaped(self.note)}</small>")

    def text(self) -> str:
        """Return the words without colours."""
        written = "".join(word.text for word in self.words)
        return strip_controls(f"{self.prompt}{written}\n{self.note}")


def _paragraph(content: str) -> str:
    return f'<p style="white-space: pre-wrap; text-align: left">{content}</p>'


class Displayable:
    """An object that shows itself in a notebook, and as text in a terminal."""

    def _parts(self) -> Sequence[Part]:
        """Return the parts of the display, in order."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return "".join(part.html() for part in self._parts())

    def _repr_text_(self) -> str:
        return "\n\n".join(part.text() for part in self._parts())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return the HTML and the text; IPython shows the one that its frontend supports."""
        return {"text/html": self._repr_html_(), "text/plain": self._repr_text_()}
