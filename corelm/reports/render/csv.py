"""A report as tidy CSV: one figure a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from corelm.reports.document.lookup import Figure, figures, rows
from corelm.toolkit import one_line

HEADER = ("sampler", "view", "metric", "value", "low", "high", "n")
FORMULA = ("=", "+", "-", "@")
"""The characters that a spreadsheet takes for the start of a formula."""


def to_csv(document: Mapping[str, Any]) -> str:
    """Render every figure of a report, each with its interval and its n."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(HEADER)
    for name, found in records(document):
        texts = (_harmless(name), found.view, _harmless(found.metric))
        table.writerow([*texts, found.value, found.low, found.high, found.n])
    return written.getvalue()


def records(document: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Yield every figure with the name of its row."""
    for name, row in rows(document):
        yield from ((name, found) for found in figures(row))


def _harmless(name: str) -> str:
    """Put a name on one line that no spreadsheet runs as a formula."""
    line = one_line(name)
    return f"'{line}" if line.startswith(FORMULA) else line
