"""HTML of objects in a notebook: tables, bars and coloured words. Nothing in it runs."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LEVELS = ((1.0, 0.0, 0), (3.0, 0.15, 1), (6.0, 0.3, 2), (math.inf, 0.45, 3))
"""Below each surprisal, in nats: the strength of a word's background, and the pixels of the line
under it, so that colour alone says nothing."""
TINT = "214, 69, 45"
BAR = "linear-gradient(to right, rgba(38, 150, 138, 0.4) {0:.1f}%, transparent {0:.1f}%)"

NUMBER = re.compile(r"[\d.,]+%?")


class Word(NamedTuple):
    """A word with its surprisal and the text of its card, which is shown on hover."""

    text: str
    surprisal: float
    card: str


def words(parts: Iterable[Word]) -> str:
    """Return words in the colours of their surprisal.

    Example:
        >>> words([Word(" cat", 0.5, "0.50 nats")])
        ' <span title="0.50 nats">cat</span>'
    """
    return "".join(map(_word, parts))


def _word(word: Word) -> str:
    own = word.text.lstrip(" ")
    text = html.escape(own).replace("\n", "&crarr;<br>")
    card = html.escape(word.card, quote=True)
    nats = 0.0 if math.isnan(word.surprisal) else word.surprisal
    _, tint, line = next((level for level in LEVELS if nats < level[0]), LEVELS[-1])
    style = (
        f' style="background: rgba({TINT}, {tint}); border-bottom: {line}px solid currentColor"'
        if line
        else ""
    )
    # The space before a word has no line under it.
    return f'{word.text[: -len(own) or None]}<span title="{card}"{style}>{text}</span>'


def table(headers: Sequence[str], rows: Iterable[Sequence[str | float]], caption: str = "") -> str:
    """Return a table; a number from 0 to 1 is a probability, with a bar as wide.

    Example:
        >>> table(["a"], [["<"]])
        '<table><tr><th>a</th></tr><tr><td style="text-align: left">&lt;</td></tr></table>'
    """
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{html.escape(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{title}<tr>{head}</tr>{body}</table>"


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        align = "right" if NUMBER.fullmatch(value) else "left"
        return f'<td style="text-align: {align}">{html.escape(value)}</td>'
    style = f"text-align: right; min-width: 6em; background: {BAR.format(100 * value)}"
    return f'<td style="{style}">{value:.1%}</td>'


def paragraph(text: str) -> str:
    """Return a paragraph of HTML, with the spaces of its words."""
    return f'<p style="white-space: pre-wrap; text-align: left">{text}</p>'
