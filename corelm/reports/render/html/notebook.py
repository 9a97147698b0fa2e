"""A report in a notebook: the summary and the overview."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from corelm.reports.document.summary import summary
from corelm.reports.render import text
from corelm.reports.render.columns import overview, overview_columns


def to_notebook(document: Mapping[str, Any]) -> str:
    """Render a report as a piece of HTML, in which every string is escaped."""
    columns = overview_columns(document)
    head = _row("th", ["sampler", *(column.title for column in columns)])
    rows = [_row("td", [name, *cells]) for name, cells in overview(document)]
    failed = [f"{name} failed: {reason}" for name, reason in text.failures(document)]
    notes = [*failed, text.settings(document, columns), text.legend(columns)]
    table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    return "".join([_paragraph(summary(document)), table, *map(_paragraph, notes)])


def _row(tag: str, cells: list[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _paragraph(sentence: str) -> str:
    return f"<p>{escape(sentence)}</p>"
