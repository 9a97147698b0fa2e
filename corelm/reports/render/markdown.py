"""A report as Markdown: the summary, the overview, and how it was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from corelm.reports.document.summary import summary
from corelm.reports.render import text
from corelm.reports.render.columns import overview, overview_columns
from corelm.toolkit import one_line


def to_markdown(document: Mapping[str, Any]) -> str:
    """Render a report as Markdown, with a table in the dialect of GitHub."""
    titles = [column.title for column in overview_columns(document)]
    lines = [table_row(["sampler", *titles]), table_row(["---", *["---:"] * len(titles)])]
    lines += [table_row([_code(name), *cells]) for name, cells in overview(document)]
    lines += [
        table_row([_code(name), f"failed: {plain(reason)}", *[""] * (len(titles) - 1)])
        for name, reason in text.failures(document)
    ]
    columns = overview_columns(document)
    notes = (plain(text.settings(document, columns)), plain(text.legend(columns)))
    return "\n\n".join([plain(summary(document)), "\n".join(lines), *notes]) + "\n"


def table_row(cells: list[str]) -> str:
    """Return a row of a table of cells that are Markdown already."""
    return f"| {' | '.join(cells)} |"


def _code(name: str) -> str:
    """Write a name as code in a cell, even with backticks and bars in it.

    Code that holds backticks needs a longer fence; a bar would end the cell even inside code.
    """
    name = one_line(name)
    ticks = max(map(len, re.findall("`+", name)), default=0)
    space = " " if ticks else ""
    fence = "`" * (ticks + 1)
    return f"{fence}{space}{name}{space}{fence}".replace("|", "\\|")


def plain(sentence: str) -> str:
    """Escape every character of a sentence that Markdown would read as markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", one_line(sentence))
