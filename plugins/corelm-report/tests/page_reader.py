"""Read the page of a report: its elements, and the cells of its tables."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import NamedTuple

Attributes = dict[str, str | None]


class Reader(HTMLParser):
    """The elements of a page and what is written in each; unbalanced ones are an error."""

    EMPTY = ("meta", "input", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data

    def all(self, *tags: str) -> list[Attributes]:
        return [attributes for tag, attributes in self.elements if tag in tags]


class Cell(NamedTuple):
    """A cell of a table: its figure, its remark, and its difference, which may be bold."""

    figure: str
    note: str
    difference: str
    bold: bool


def table_of(page: str, name: str) -> str:
    """The HTML of a table by the id of its caption; empty if the page lacks it."""
    return next((part for part in page.split("<table")[1:] if f'<caption id="{name}"' in part), "")


def rows_of(page: str, name: str) -> dict[str, dict[str, Cell]]:
    """The cells of a table by the name of their row and the title of their column."""
    rows = re.findall(r'<tr[^>]*><th scope="row".*?</tr>', table_of(page, name), re.DOTALL)
    return {
        text_of(re.search(r"<bdi>(.*?)</bdi>", row)[1]): {
            title: _cell(content)
            for title, content in re.findall(r'<td[^>]*data-label="(.*?)">(.*?)</td>', row)
        }
        for row in rows
    }


def note_of(page: str, name: str, row: str) -> str:
    """The remark below the name of a row."""
    found = re.search(rf"<bdi>{re.escape(row)}</bdi>(<small>.*?</small>)?", table_of(page, name))
    return text_of(found[1] or "")


def _cell(content: str) -> Cell:
    figure, _, difference = content.partition('<i class="difference')
    figure, _, note = figure.partition("<em>")
    bold = difference.startswith(" clear")
    return Cell(text_of(figure), text_of(note), text_of(difference.partition(">")[2]), bold)


def text_of(content: str) -> str:
    """The text of some HTML, without its tags."""
    return re.sub("<[^>]*>", "", content).replace("&lt;", "<").replace("&amp;", "&")
