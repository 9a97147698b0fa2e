"""A report as a table of LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import replace
from textwrap import TextWrapper

from corelm.runs import printable
from corelm_pages.evidence import closest, evidence
from corelm_pages.overview import (
    OverviewColumn,
    failures,
    legend,
    method,
    overview_columns,
)
from corelm_pages.verdict import verdict
from corelm_report.document.content import Document, Entry, HumanEntry
from corelm_stats.conclusions import CONFIDENCE

WIDTH, GAP = 95, 2
"""The width of a page of some 400 points, and of the gap between columns, in letters."""
CLOSEST = r"$^{\dagger}$"
"""The mark of entries that are not significantly farther from human text than the closest one."""
_COMMANDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", '"': "{''}",
    "`": r"\textasciigrave{}", "'": r"\textquotesingle{}", "-": "{-}",
    "\N{MINUS SIGN}": "$-$", "\N{INFINITY}": r"$\infty$", "\N{EN DASH}": "--",
    "\N{EM DASH}": "---", "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}", "\N{PLUS-MINUS SIGN}": r"$\pm$",
} | {letter: f"\\{letter}" for letter in "&%$#_{}"}  # fmt: skip


def to_latex(document: Document, label: str | None = None) -> str:
    """Render the table of a report, each figure with its 95 % interval where it has one.

    It has as many columns as fit across a page, the most important ones. Entries that may be the
    closest to human text are marked. The caption is one sentence; the summary, the method and the
    definitions of the columns are comments above the table. It needs `\\usepackage{booktabs}` and
    `\\usepackage[T1]{fontenc}`, and works with pdfTeX, XeTeX and LuaTeX.

    Args:
        document: the report.
        label: the label of the table; by default made from the model's name and the samplers.
    """
    columns = _columns(document)
    titles = ["sampler", *(column.title for column in columns)]
    rows = [
        _row([_name(document, entry), *(escaped(column.cell(entry)) for column in columns)])
        for entry in document.entries
    ]
    if label is None:  # one that is unique to the model and the samplers
        names = "\n".join(entry.label for entry in document.entries)
        unique = hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()[:6]
        label = f"tab:{document.header.model.name}-{unique}"
    label = re.sub(r"[^A-Za-z0-9:.+-]+", "-", label).strip("-")
    human = sum(isinstance(entry, HumanEntry) for entry in document.entries)
    if 0 < human < len(rows):
        rows.insert(human, r"\midrule")
    rows += [
        _row([_code(name), rf"\multicolumn{{{len(columns)}}}{{l}}{{{escaped(f'failed: {why}')}}}"])
        for name, why in failures(document)
    ]
    parts = (verdict(document), evidence(document), method(document, columns), legend(columns))
    # No breaks inside words, which could split a command.
    lines = TextWrapper(98, break_long_words=False, break_on_hyphens=False)
    return "\n".join(
        [
            r"% \usepackage{booktabs} \usepackage[T1]{fontenc}",
            *(f"% {line}" for part in parts if part for line in lines.wrap(escaped(part))),
            r"\begin{table*}",
            r"\centering",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{_caption(document)}}}",
            rf"\label{{{label}}}",
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
    fitting: list[OverviewColumn] = []
    for column in sorted(every, key=lambda column: column.priority):
        cells = (column.cell(entry) for entry in document.entries)
        room -= GAP + max(map(len, (column.title, *cells)))
        if room < 0 and fitting:
            break
        fitting.append(column)
    return [column for column in every if column in fitting]


def _caption(document: Document) -> str:
    """Return one sentence: the model, the texts, the brackets and the mark."""
    header = document.header
    prompts = len(header.prompts)
    where = "" if prompts == 1 else f" of {printable.counted(prompts, 'prompt')}"
    text = (
        f"Samplers on {header.model.name}, from {printable.counted(header.drawn, 'text')}{where} "
        f"of at most {printable.counted(header.length, 'token')} each, with 95% intervals"
    )
    if not closest(document):
        return f"{escaped(text)}."
    meaning = escaped(f"cannot be told from the closest to human text at {CONFIDENCE}.")
    return f"{escaped(text)}; {CLOSEST} {meaning}"


def _name(document: Document, entry: Entry) -> str:
    if isinstance(entry, HumanEntry):
        return escaped(entry.label)
    return _code(entry.label) + (CLOSEST if entry in closest(document) else "")


def _code(name: str) -> str:
    return rf"\texttt{{{escaped(name)}}}"


def _row(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def escaped(text: str) -> str:
    r"""Escape a text for LaTeX, and replace letters that LaTeX lacks.

    Quotation marks become TeX's, opening before words.

    Example:
        >>> print(escaped("100 % of top_p{\\input}"))
        100 \% of top\_p\{\textbackslash{}input\}
        >>> print(escaped('the prompt "the cat"'))
        the prompt {``}the cat{''}
    """
    line = printable.one_line(text)
    pairs = zip(" " + line, line, strict=False)
    # In braces, so that a quotation mark can't form a ligature with its neighbour.
    return "".join(
        "{``}" if each == '"' and before in " (" else _letter(each) for before, each in pairs
    )


def _letter(letter: str) -> str:
    if letter in _COMMANDS:
        return _COMMANDS[letter]
    if letter < "\x7f" or (letter < "\u0180" and unicodedata.category(letter)[0] == "L"):
        return letter
    return rf"[U+{ord(letter):04X}]"  # pdfTeX has no such letter
