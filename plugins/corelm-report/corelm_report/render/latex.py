"""A report as a table of LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from corelm.runs import one_line
from corelm_report.document.content import Document, Entry
from corelm_report.document.figures import HUMAN
from corelm_report.document.summary import summary
from corelm_report.render.overview import (
    OverviewColumn,
    failures,
    legend,
    method,
    overview_columns,
)

WIDTH, GAP = 95, 2
"""The number of letters across a page of some 400 points, and between two columns."""
CLOSEST = r"$^{\dagger}$"
"""Marks the entries that cannot be told from the one closest to human text."""
_COMMANDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", '"': "{''}",
    "`": r"\textasciigrave{}", "'": r"\textquotesingle{}", "-": "{-}",
    "\N{MINUS SIGN}": "$-$", "\N{INFINITY}": r"$\infty$", "\N{EN DASH}": "--",
    "\N{EM DASH}": "---", "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
} | {letter: f"\\{letter}" for letter in "&%$#_{}"}  # fmt: skip


def to_latex(document: Document) -> str:
    """Render the table of a report, each figure with its 95 % interval where it has one.

    It has as many columns as fit across a page, the most important ones. Entries that cannot be
    told from the closest one to human text are marked. The table needs
    `\\usepackage{booktabs}` and `\\usepackage[T1]{fontenc}`, and works with pdfTeX, XeTeX and
    LuaTeX.
    """
    columns = _columns(document)
    titles = ["sampler", *(column.title for column in columns)]
    rows = [
        _row([_name(document, entry), *(escaped(column.cell(entry)) for column in columns)])
        for entry in document.entries
    ]
    if document.human is not None and len(rows) > 1:
        rows.insert(1, r"\midrule")
    rows += [
        _row([_code(name), rf"\multicolumn{{{len(columns)}}}{{l}}{{{escaped(f'failed: {why}')}}}"])
        for name, why in failures(document)
    ]
    return "\n".join(
        [
            r"% \usepackage{booktabs} \usepackage[T1]{fontenc}",
            r"\begin{table*}",
            r"\centering",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{_caption(document, columns)}}}",
            r"\label{tab:samplers}",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\toprule",
            _row([escaped(title) for title in titles]),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _columns(document: Document) -> list[OverviewColumn]:
    """Return the most important columns that fit across a page, in the order of the document."""
    room = WIDTH - max((len(entry.label) for entry in document.entries), default=0)
    every = [
        replace(each, with_spread=False) for each in overview_columns(document, intervals=True)
    ]
    kept: list[OverviewColumn] = []
    for column in sorted(every, key=lambda column: column.priority):
        cells = (column.cell(entry) for entry in document.entries)
        room -= GAP + max(map(len, (column.title, *cells)))
        if room < 0 and kept:
            break
        kept.append(column)
    return [column for column in every if column in kept]


def _caption(document: Document, columns: list[OverviewColumn]) -> str:
    parts = [summary(document), method(document, columns), legend(columns)]
    text = escaped(" ".join([*parts, "In brackets: 95 % intervals."]))
    if not document.closest:
        return text
    return f"{text} {CLOSEST} cannot be told from the closest to human text."


def _name(document: Document, entry: Entry) -> str:
    mark = CLOSEST if entry.label in document.closest and entry.label != HUMAN else ""
    return (escaped(HUMAN) if entry.label == HUMAN else _code(entry.label)) + mark


def _code(name: str) -> str:
    return rf"\texttt{{{escaped(name)}}}"


def _row(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def escaped(text: str) -> str:
    r"""Return a text as LaTeX, in which nothing is a command and every letter exists.

    Example:
        >>> print(escaped("100 % of top_p{\\input}"))
        100 \% of top\_p\{\textbackslash{}input\}
    """
    return "".join(_letter(letter) for letter in one_line(text))


def _letter(letter: str) -> str:
    if letter in _COMMANDS:
        return _COMMANDS[letter]
    if letter < "\x7f" or (letter < "\u0180" and unicodedata.category(letter)[0] == "L"):
        return letter
    return rf"[U+{ord(letter):04X}]"  # pdfTeX has no such letter
