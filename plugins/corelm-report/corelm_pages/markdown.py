"""The summary, the overview and the method, as Markdown and for a notebook."""

from __future__ import annotations

import re
from html import escape

from corelm.runs import markup, printable
from corelm_pages.evidence import evidence
from corelm_pages.overview import failures, legend, method, overview, overview_columns
from corelm_pages.verdict import verdict
from corelm_report.document.content import Document


def to_markdown(document: Document) -> str:
    """Render a report as Markdown, with a table in the dialect of GitHub."""
    titles = [column.title for column in overview_columns(document)]
    lines = [table_row(["sampler", *titles]), table_row(["---", *["---:"] * len(titles)])]
    lines += [table_row([_code(name), *cells]) for name, cells in overview(document)]
    lines += [
        table_row([_code(name), f"failed: {plain(reason)}", *[""] * (len(titles) - 1)])
        for name, reason in failures(document)
    ]
    columns = overview_columns(document)
    notes = [
        plain(each) for each in (evidence(document), method(document, columns), legend(columns))
    ]
    return "\n\n".join([plain(verdict(document)), "\n".join(lines), *notes]) + "\n"


def table_row(cells: list[str]) -> str:
    """Return a table row of cells that are already Markdown."""
    return f"| {' | '.join(cells)} |"


def _code(name: str) -> str:
    """Write a name as code in a cell, even with backticks and bars in it.

    Code that holds backticks needs a longer fence; a bar would end the cell even inside code.
    """
    name = printable.one_line(name)
    ticks = max(map(len, re.findall("`+", name)), default=0)
    space = " " if ticks else ""
    fence = "`" * (ticks + 1)
    return f"{fence}{space}{name}{space}{fence}".replace("|", "\\|")


def plain(sentence: str) -> str:
    """Escape every character of a sentence that Markdown would read as markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", printable.one_line(sentence))


def to_notebook(document: Document) -> str:
    """Render a report as an HTML fragment, in which every string is escaped."""
    columns = overview_columns(document)
    head = _row("th", ["sampler", *(column.title for column in columns)])
    rows = [_row("td", [name, *cells]) for name, cells in overview(document)]
    failed = [f"{name} failed: {reason}" for name, reason in failures(document)]
    notes = [*failed, evidence(document), method(document, columns), legend(columns)]
    table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    return "".join([_paragraph(verdict(document)), table, *map(_paragraph, notes)])


def to_text(document: Document) -> str:
    """Render a report as text: the summary, the table and the failures."""
    titles = [column.title for column in overview_columns(document)]
    rows = [[name, *cells] for name, cells in overview(document)]
    failed = [f"{name} failed: {reason}" for name, reason in failures(document)]
    table = markup.Table(["sampler", *titles], rows).text()
    return "\n\n".join(
        [
            printable.one_line(verdict(document)),
            table,
            *map(printable.one_line, failed),
        ]
    )


def _row(tag: str, cells: list[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _paragraph(sentence: str) -> str:
    return f"<p>{escape(sentence)}</p>"
