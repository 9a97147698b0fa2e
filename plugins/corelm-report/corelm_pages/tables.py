"""The tables of the page: each cell has a figure with its interval, and a difference.

Differences beyond chance are marked, at the false discovery rate of
`corelm_stats/conclusions.py`; their p-values are of the same units as their intervals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from corelm.runs import printable
from corelm_pages.formats import FORMATS, Rounding, interval, margins, over_seeds, signed
from corelm_pages.overview import TARGET, all_columns, in_short
from corelm_report.document.content import (
    Document,
    Entry,
    GeneratedTexts,
    HumanContexts,
    HumanEntry,
    TeacherForced,
)
from corelm_report.document.figures import (
    DIVERGENCE,
    ENTROPY,
    GENERATED,
    HUMAN,
    TABLES,
    TEACHER_FORCED,
    VARIETY,
    Figure,
)
from corelm_report.document.lookup import Measurement, Reading, against, readings
from corelm_stats.conclusions import discoveries
from corelm_stats.estimates import STATED

WIDEST = 14
"""The longest margin that the style sheet has room for, in letters."""
POINT, DIGIT = "\N{PUNCTUATION SPACE}", "\N{FIGURE SPACE}"
"""White space as wide as a decimal point and as a digit."""
FOLDED = 3
"""A sweep of at least this many settings gets its own heading, which folds them."""


@dataclass(frozen=True)
class Amount:
    """A number as the page shows it, on one line.

    Attributes:
        text: the number.
        pad: the white space that aligns its decimals with the ones of its column.
        margins: the distances of the ends of its interval: one text, or two if they differ.
        unit: the unit behind both.
    """

    text: str
    margins: tuple[str, ...] = ()
    unit: str = ""
    pad: str = ""


@dataclass(frozen=True)
class TableCell:
    """A figure of an entry, and its difference.

    Attributes:
        title: the heading of its column.
        figure: the figure; None if the entry has none.
        note: a remark on this figure, or its spread over the seeds.
        difference: the difference from the entry that the report compares with.
        clear: True if the difference is significant among all differences of the page.
        room: the width of the widest margin of its column, in letters.
        first: True for the figure that a folded card shows.
    """

    title: str
    figure: Amount | None = None
    note: str = ""
    difference: Amount | None = None
    clear: bool = False
    room: int = 0
    first: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a table: a sampler or human text, with its cells.

    Its strip has the mean of an entropy and its 5th and 95th percentile, in percent of the scale.
    """

    name: str
    note: str = ""
    human: bool = False
    n: str = ""
    strip: tuple[float, ...] | None = None
    cells: Sequence[TableCell] = ()


@dataclass(frozen=True)
class PageTable:
    """One table of the page.

    Attributes:
        columns: the figures that it shows.
        blocks: its lines, the settings of each sweep with its expression, others with "".
        n: the number of texts or positions of most samplers.
        mixed: True if a row has another number.
        absent: the entries that have none of its figures.
    """

    columns: Sequence[Figure]
    blocks: Sequence[tuple[str, Sequence[Line]]]
    n: str
    mixed: bool
    absent: Sequence[str]


DifferenceKey = tuple[str, str, str]
"""The place of a difference: the name of its entry, its view, its figure."""


class PageTables:
    """The figures of a document in the tables of the page, each looked up once.

    Args:
        document: the content of a report.

    Attributes:
        p_values: every difference of enough units for a statement, with its p-value.
        clear: the significant differences among them.
    """

    def __init__(self, document: Document) -> None:
        self._document, self._columns = document, all_columns(document)
        self._read = [(entry, readings(entry, self._columns)) for entry in document.entries]
        if against(document) != HUMAN:  # as one half of the human texts is with the other
            self._read = [
                (entry, [each._replace(difference=None) for each in row])
                if isinstance(entry, HumanEntry) else (entry, row)
                for entry, row in self._read
            ]  # fmt: skip
        self.p_values: dict[DifferenceKey, float] = {
            (entry.label, column.view, column.looked_up): apart.p
            for entry, row in self._read
            for column, each in zip(self._columns, row, strict=True)
            if not isinstance(entry, HumanEntry) and column.compared and (apart := each.declared)
            if apart.p is not None and (apart.units or 0) >= STATED
        }
        largest = discoveries(self.p_values.values())
        self.clear = {place for place, p in self.p_values.items() if p <= largest}

    def by_name(self) -> dict[str, PageTable | None]:
        """Return the tables; None for one without a figure of any sampler."""
        cells = [
            [_cell(*each, entry, self.clear) for each in zip(self._columns, row, strict=True)]
            for entry, row in self._read
        ]
        return {name: self._table(name, cells) for name in TABLES}

    def _table(self, name: str, cells: Sequence[Sequence[TableCell]]) -> PageTable | None:
        document = self._document
        filled_columns = [
            (column, some)
            for column, *some in zip(self._columns, *cells, strict=True)
            if column.table == name and _says_something(document, column, some)
        ]
        if not filled_columns:
            return None
        columns = [column for column, _ in filled_columns]
        first = next((column for column in columns if column.compared), columns[0])
        rows = zip(
            *([replace(cell, first=c is first) for cell in some] for c, some in filled_columns),
            strict=True,
        )
        entries = zip(document.entries, rows, strict=True)
        every = [_line(entry, document, name, row) for entry, row in entries]
        filled = [line for line in every if any(cell.figure for cell in line.cells)]
        counts = Counter(line.n for line in filled if line.n and not line.human)
        # Said once above the table; only lines with another number get a note.
        usual = max(counts, key=lambda n: counts[n], default="")
        numbers = [f"n = {line.n}" if line.n not in ("", usual) else "" for line in filled]
        noted = [
            replace(line, note="; ".join(filter(None, (number, line.note))))
            for line, number in zip(filled, numbers, strict=True)
        ]
        return PageTable(
            columns,
            _blocks(document, _aligned(noted)),
            usual,
            any(line.n not in ("", usual) for line in filled),
            [line.name for line in every if line not in filled],
        )


def _blocks(document: Document, rows: Sequence[Line]) -> list[tuple[str, Sequence[Line]]]:
    """Divide lines into blocks: human text, the settings of each sweep, and other samplers.

    The sweep of a few settings needs no title.
    """
    sweeps = {entry.sampler: entry.sweep for entry in document.samplers}
    count = Counter(sweeps[line.name] or "" for line in rows if not line.human)

    def title(line: Line) -> str:
        sweep = "" if line.human else sweeps[line.name] or ""
        return sweep if count[sweep] >= FOLDED else ""

    return [(sweep, list(some)) for sweep, some in groupby(rows, title)]


def _aligned(rows: Sequence[Line]) -> list[Line]:
    """Align the decimals of each column, and give its margins as much room as the widest needs."""
    # Letters in a fixed room align without a script, and in print too.
    rooms, decimals = Counter[str](), Counter[str]()
    for cell in (cell for line in rows for cell in line.cells if cell.figure):
        widths = map(len, cell.figure.margins if cell.figure else ())
        rooms[cell.title] = min(max([rooms[cell.title], *widths]), WIDEST)
        decimals[cell.title] = max(decimals[cell.title], _decimals(cell.figure))

    def aligned(cell: TableCell) -> TableCell:
        figure, most = cell.figure, decimals[cell.title]
        pad = POINT * (most > 0 == _decimals(figure)) + DIGIT * (most - _decimals(figure))
        return replace(cell, room=rooms[cell.title], figure=figure and replace(figure, pad=pad))

    return [replace(line, cells=[*map(aligned, line.cells)]) for line in rows]


def _decimals(figure: Amount | None) -> int:
    """Return the number of decimals of a number."""
    return len(figure.text.removesuffix("%").partition(".")[2]) if figure else 0


def _says_something(document: Document, column: Figure, cells: Sequence[TableCell]) -> bool:
    """Return True if a sampler has the figure; a target that all share doesn't count.

    For example, only samplers with a mask have a constraint cost.
    """
    by_entry = zip(document.entries, cells, strict=True)
    figures = [c.figure for entry, c in by_entry if not isinstance(entry, HumanEntry)]
    if column.name == "unknown":  # few models have such a word, and few texts
        figures += [cells[0].figure] if document.human else []
        return any(each and each.text != "0" for each in figures)
    return len(set(figures)) > 1 if column.name == TARGET.name else any(figures)


def _line(entry: Entry, document: Document, table: str, cells: Sequence[TableCell]) -> Line:
    part = entry.part(TEACHER_FORCED if table in (ENTROPY, DIVERGENCE) else GENERATED)
    whole_human, note = entry is document.human, ""
    if whole_human and document.header.contexts.source != HUMAN:
        note = "measured on other texts"
    elif entry is document.human_halves and against(document) == HUMAN:
        note = "one half; its differences are from the other half"
    return Line(
        "human text" if whole_human else entry.label,
        note=note,
        human=isinstance(entry, HumanEntry),
        n=_count(part, in_sets=table == VARIETY),
        strip=_strip(entry, document.bounds.max) if table == ENTROPY else None,
        cells=cells,
    )


def _count(part: TeacherForced | HumanContexts | GeneratedTexts | None, in_sets: bool) -> str:
    """Return the number of texts or positions, of units if fewer, and the size of several sets."""
    if part is None or part.n is None:
        return ""
    count = f"{part.n:,}"
    if isinstance(part, GeneratedTexts):
        units, size = part.units, part.set_size
        count += "" if units in (None, part.n) else f" ({units:,} independent)"
        count += f" in sets of {size:,}" if in_sets and size is not None and size < part.n else ""
    return count


def _cell(
    column: Figure, read: Reading, entry: Entry, clear: Collection[DifferenceKey]
) -> TableCell:
    if column.name == TARGET.name:
        return TableCell(column.title, Amount(in_short(entry.matched)) if entry.matched else None)
    measured = read.measured
    if measured is None:
        return TableCell(column.title)
    is_human = isinstance(entry, HumanEntry)
    note = over_seeds(column.form, read.spread)
    note = "of the words written" if is_human and column.human else note
    part = entry.part(column.view)
    if part is not None and measured.n is not None and part.n is not None and measured.n < part.n:
        note = ", ".join(filter(None, (f"of {printable.counted(measured.n, 'text')}", note)))
    other = read.difference if column.compared else None
    apart = None
    if other is not None:
        amount = signed(FORMATS[column.form], other.value, other.low, other.high)
        text, _, unit = amount.partition(" ")
        apart = Amount(text, _sides(column, other, (0.0,)), unit)
    figure = _figure(column, measured, read.between)
    is_band = column.name == "outside_human_band" and math.isclose(
        measured.value, 0.1, abs_tol=5e-4
    )
    if is_human and figure and is_band:
        figure, note = replace(figure, margins=()), "by definition"
    return TableCell(
        column.title,
        figure,
        note,
        apart,
        (entry.label, column.view, column.looked_up) in clear,
    )


def _figure(column: Figure, measured: Measurement, between: Sequence[Measurement | None]) -> Amount:
    """Return a figure with its 95 % interval, or with the range that its column shows instead."""
    if between:
        text = Rounding(FORMATS[column.form]).text(measured.value)
        low, high = between
        ends = interval(FORMATS[column.form], low.value, high.value) if low and high else ""
        return Amount(text, (ends,) if ends else ())
    own = FORMATS[column.form], measured.value, measured.low, measured.high
    text, sides = Rounding.by_interval(*own).text(measured.value), _sides(column, measured)
    # `share` writes an exact 0 as "0"; next to margins in percent it needs the unit.
    return Amount("0%" if sides and column.form == "share" and text == "0" else text, sides)


def _sides(
    column: Figure, measured: Measurement, apart_from: Sequence[float] = ()
) -> tuple[str, ...]:
    if measured.low is None or measured.high is None:
        return ()
    ends = measured.value, measured.low, measured.high
    return margins(FORMATS[column.form], *ends, apart_from)


def _strip(entry: Entry, greatest: float) -> tuple[float, ...] | None:
    """Return the strip of an entry; None for a decoder or human text, which have no entropy."""
    part = entry.teacher_forced
    if not isinstance(part, TeacherForced) or (mean := part.entropy.mean) is None:
        return None
    at = mean, part.entropy.p05, part.entropy.p95
    return tuple(place(mean if each is None else each, greatest) for each in at)


def place(entropy: float, greatest: float) -> float:
    """Return the position of an entropy between 0 and the largest one, in percent."""
    return round(min(max(100 * entropy / (greatest or 1), 0), 100), 1)
