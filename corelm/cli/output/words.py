"""Words coloured by their surprisal, and lines of words with figures under each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from corelm.cli.output.messages import Output
from corelm.text.printable import SURPRISAL_SCALE, one_line, strip_controls

STYLES: tuple[dict[str, Any], ...] = (
    {},
    {"fg": "green"},
    {"fg": "green", "underline": True},
    {"fg": "magenta", "underline": True},
    {"fg": "red", "underline": True},
    {"fg": "red", "underline": True, "bold": True},
)
"""The style of a word at each level of surprisal. No yellow, which is unreadable on white."""
GAP = 2
"""The spaces between two words with figures."""


def style_of(surprisal: float) -> dict[str, Any]:
    """Return the style of a word by its surprisal in nats; none if it has no surprisal.

    Example:
        >>> [style_of(nats).get("fg") for nats in (0.2, 2.0, 6.0, 9.0)]
        [None, 'green', 'magenta', 'red']
    """
    return STYLES[SURPRISAL_SCALE.level(surprisal)]


class WordCell(NamedTuple):
    """A word with figures under it.

    Attributes:
        word: the word.
        figures: a line each.
        style: the style of the word.
    """

    word: str
    figures: Sequence[str]
    style: dict[str, Any]


class WordTable:
    """Words in lines as wide as the terminal, with figures under each.

    Args:
        out: the output.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self._cells: list[WordCell] = []
        self._used = 0

    def add(self, text: str, figures: Sequence[str], style: dict[str, Any]) -> None:
        """Add a word; a line that is full is written."""
        cell = WordCell(visible(text), [strip_controls(figure) for figure in figures], style)
        if self._cells and self._used + _width(cell) > self._out.width:
            self.end()
        self._cells.append(cell)
        self._used += _width(cell) + GAP

    def end(self) -> None:
        """Write the words that are left."""
        cells, self._cells, self._used = self._cells, [], 0
        if not cells:
            return
        words = [(cell.word, self._out.styled(cell.word, **cell.style)) for cell in cells]
        self._write(cells, words)
        for at in range(max(len(cell.figures) for cell in cells)):
            figures = [cell.figures[at] if at < len(cell.figures) else "" for cell in cells]
            self._write(cells, [(each, self._out.styled(each, dim=True)) for each in figures])
        self._out.document("\n")

    def _write(self, cells: Sequence[WordCell], texts: Sequence[tuple[str, str]]) -> None:
        """Write one line; each text is given plain and styled."""
        from rich.cells import cell_len

        parts = [
            styled + " " * (_width(cell) + GAP - cell_len(plain))
            for cell, (plain, styled) in zip(cells, texts, strict=True)
        ]
        self._out.document("".join(parts).rstrip(" ") + "\n")


def _width(cell: WordCell) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, (cell.word, *cell.figures)))


def visible(text: str) -> str:
    r"""Return a token as a word of a table: without spaces around it, white space by its name.

    Example:
        >>> visible(" film"), visible("\n")
        ('film', "'\\n'")
    """
    return one_line(text.strip()) or repr(text)


def share(probability: float) -> str:
    """Return a probability as a percentage, with two digits below 10 %.

    Example:
        >>> [share(p) for p in (0.412, 0.0731, 0.00073, 0.0)]
        ['41%', '7.3%', '0.073%', '0%']
    """
    return f"{100 * probability:.2g}%"
