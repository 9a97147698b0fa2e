"""A report as tables: what stands in each cell, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from corelm.report.document.lookup import HUMAN, Figure, figure, figures, rows
from corelm.report.document.numbers import number, share
from corelm.report.document.summary import sentence

NOTHING = "-"
"""What stands where nothing was measured."""
CSV_HEADER = ("sampler", "view", "metric", "value", "low", "high", "n")
FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""


@dataclass(frozen=True)
class Column:
    """One column of the overview.

    Attributes:
        title: what stands over it.
        view, metric: the figure in it.
        form: how that is written.
        compared: whether it says how far the figure is from the human one instead.
    """

    title: str
    view: str
    metric: str
    form: Callable[[float], str] = number
    compared: bool = False

    def cell(self, row: Mapping[str, Any], human: Mapping[str, Any] | None) -> str:
        """What stands in it for a row."""
        found = figure(row, self.metric, self.view)
        if found is None:
            return NOTHING
        if not self.compared:
            return self.form(found.value)
        other = human and figure(human, self.metric, self.view)
        if not other or row is human:
            return NOTHING
        difference = found.value - other.value
        more = "+" if self.form(difference) != self.form(0) and difference > 0 else ""
        return more + self.form(difference)


COLUMNS = (
    ENTROPY := Column("entropy", "same_contexts", "entropy"),
    ENTROPY_TO_HUMAN := Column("to human", "same_contexts", "entropy", compared=True),
    MASS := Column("mass", "same_contexts", "mass_kept", share),
    SURPRISAL := Column("surprisal", "own_texts", "surprisal"),
    SURPRISAL_TO_HUMAN := Column("to human", "own_texts", "surprisal", compared=True),
    DISTINCT := Column("distinct-2", "own_texts", "distinct_2", share),
    REPETITION := Column("rep-4", "own_texts", "rep_4", share),
    LOOPS := Column("loops", "own_texts", "loops", share),
)


def columns(document: Mapping[str, Any]) -> list[Column]:
    """The columns of the overview; without a human row nothing is compared with it."""
    return [column for column in COLUMNS if document["reference"] or not column.compared]


def overview(document: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Each row's name and its cells, the human row first. Rows that failed are left out."""
    named = rows(document)
    human = next((row for name, row in named if name == HUMAN), None)
    for name, row in named:
        yield name, [column.cell(row, human) for column in columns(document)]


def failures(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The samplers that failed, each with its reason."""
    failed = [row for row in document["samplers"] if row["error"]]
    return [(row["sampler"], row["error"]["message"]) for row in failed]


def to_markdown(document: Mapping[str, Any]) -> str:
    """The sentence, the table, what failed, and how it was measured."""
    titles = [column.title for column in columns(document)]
    lines = [_row(["sampler", *titles]), _row(["---", *["---:"] * len(titles)])]
    lines += [_row([_code(name), *cells]) for name, cells in overview(document)]
    lines += [
        _row([_code(name), f"failed: {_plain(reason)}", *[""] * (len(titles) - 1)])
        for name, reason in failures(document)
    ]
    return "\n".join([_plain(sentence(document)), "", *lines, "", _plain(settings(document)), ""])


def settings(document: Mapping[str, Any]) -> str:
    """How it was measured, in two sentences."""
    header = document["header"]
    contexts, model = header["contexts"], header["model"]
    prompts = ", ".join(f'"{prompt}"' for prompt in header["prompts"][:3])
    more = len(header["prompts"]) - 3
    n = header["n"] * len(header["prompts"])
    return (
        f"Entropy in nats, on the same {contexts['positions']:,} positions of "
        f"{contexts['texts']:,} texts ({contexts['description']}). Surprisal in nats, distinct-2, "
        f"rep-4 and loops on {n:,} texts of at most {header['length']:,} tokens by each "
        f"sampler, prompt {prompts}{f' and {more} more' if more > 0 else ''}, "
        f"seed {header['seed']}, model {model['name']}."
    )


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """A name as code in a cell of a table, whatever characters it has."""
    text = _one_line(text)
    ticks = max(map(len, re.findall("`+", text)), default=0)
    space = " " if ticks else ""
    fence = "`" * (ticks + 1)
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def _plain(text: str) -> str:
    """Text of which Markdown makes nothing but text."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def to_csv(document: Mapping[str, Any]) -> str:
    """Every figure on a line of its own, with its interval and its n."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(CSV_HEADER)
    for name, found in records(document):
        row = (found.view, found.metric, found.value, found.low, found.high, found.n)
        table.writerow([_harmless(name), *row])
    return written.getvalue()


def records(document: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Every figure with the row that it is of."""
    for name, row in rows(document):
        yield from ((name, found) for found in figures(row))


def _harmless(text: str) -> str:
    """A cell on one line that no spreadsheet runs."""
    line = _one_line(text)
    return f"'{line}" if line.startswith(FORMULA) else line
