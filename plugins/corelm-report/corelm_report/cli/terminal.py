"""A report, or the comparison of two, in the terminal: a table that fits, and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import RenderableType

from corelm.commands import Output, blocks
from corelm.runs import printable
from corelm_report.document.comparison import beyond
from corelm_report.document.content import Document, Entry
from corelm_report.document.figure import TEACHER_FORCED
from corelm_report.document.lookup import estimate
from corelm_report.document.parts import Json
from corelm_report.document.summary import summary
from corelm_report.render.markdown import plain, table_row
from corelm_report.render.overview import (
    BARS,
    NOTHING,
    OverviewColumn,
    failures,
    legend,
    method,
    overview,
    overview_columns,
)

NARROW = 60
"""Columns below which the figures of a sampler are written under it instead of in a table."""
NAME, BAR, GAP = 26, 10, 2
"""The largest width of a name, the width of a full bar, and of the gap between columns."""


def report_table(document: Document, width: int, unicode: bool = True) -> Iterator[RenderableType]:
    """Yield the table, the failures, the settings and the summary.

    Args:
        document: the report.
        width: the number of characters in a line.
        unicode: draw with block characters.
    """
    entries = document.entries
    shown = overview_columns(document)
    if entries and width < NARROW:
        yield from _stacked(document)
        yield blocks.line("")
    elif entries:
        chosen = _chosen(document, entries, width, unicode)
        shown = [column.of for column in chosen if column.of]
        yield _table(entries, chosen, width)
        yield blocks.line("")
    for name, reason in failures(document):
        yield blocks.line(f"{name} failed: {reason}", "red")
    yield blocks.line(method(document, shown), "dim")
    yield blocks.line(legend(shown), "dim")
    yield blocks.line("")
    yield blocks.line(summary(document), "bold")


@dataclass(frozen=True)
class _Column:
    """A column of the terminal's table: its priority, its cells with the title first.

    `of` is the overview's column that it shows; None for the bars.
    """

    priority: int
    cells: list[str]
    of: OverviewColumn | None = None

    @property
    def width(self) -> int:
        return max(map(cell_len, self.cells))


def _table(entries: Sequence[Entry], chosen: Sequence[_Column], width: int) -> RenderableType:
    names = [printable.one_line(entry.label) for entry in entries]
    titles, *lines = zip(["", *names], *(column.cells for column in chosen), strict=True)
    return blocks.figures(titles, lines, widest=_longest(names, width))


def _longest(names: Sequence[str], width: int) -> int:
    return min(max(map(cell_len, names)), max(NAME, width // 3))


def _chosen(
    document: Document, entries: Sequence[Entry], width: int, unicode: bool
) -> list[_Column]:
    """Return the columns that fit: all with intervals if possible, else the most important."""
    room = width - _longest([printable.one_line(entry.label) for entry in entries], width)
    with_intervals = _columns(document, entries, unicode, intervals=True)
    if len(_that_fit(with_intervals, room)) == len(with_intervals):
        return with_intervals
    return _that_fit(_columns(document, entries, unicode, intervals=False), room)


def _columns(
    document: Document, entries: Sequence[Entry], unicode: bool, intervals: bool
) -> list[_Column]:
    """Return all columns, with the bars after the entropies."""
    most = document.bounds.max
    bars = [f"0 to {most:.2f}", *(_bar(entry, most, unicode) for entry in entries)]
    cells = zip(*(cells for _, cells in overview(document, intervals)), strict=True)
    columns = [
        _Column(column.priority, [column.title, *texts], column)
        for column, texts in zip(overview_columns(document), cells, strict=True)
    ]
    first = (at for at, column in enumerate(columns) if column.priority < BARS)
    before = 1 + max(first, default=-1)
    return [*columns[:before], _Column(BARS, bars), *columns[before:]]


def _that_fit(columns: Sequence[_Column], room: int) -> list[_Column]:
    """Return the most important columns that fit, in the order of the table."""
    chosen = []
    for column in sorted(columns, key=lambda column: column.priority):
        room -= GAP + column.width
        if room < 0:
            break
        chosen.append(column)
    return [column for column in columns if column in chosen]


def _bar(entry: Entry, most: float, unicode: bool) -> str:
    """Draw the entropy as a bar that is full at the upper bound; a decoder has none."""
    found = estimate(entry, "entropy", TEACHER_FORCED)
    if found is None:
        return ""
    share = found.value / most if most > 0 else 0.0
    full = round(min(max(share, 0.0), 1.0) * BAR)
    return ("█" if unicode else "#") * full + ("░" if unicode else ".") * (BAR - full)


def _stacked(document: Document) -> Iterator[RenderableType]:
    """Yield every sampler with its figures below its name."""
    for name, cells in overview(document):
        named = zip(overview_columns(document), cells, strict=True)
        facts = [f"{column.title} {cell}" for column, cell in named if cell != NOTHING]
        yield from blocks.entry(name, (), ", ".join(facts))


TITLES = ("sampler", "figure", "before", "after", "difference", "its 95 % interval")
SHOWN = 60
"""The longest part of a header that is shown in full, in characters."""


def show_comparison(compared: Json, out: Output) -> None:
    """Write the figures that differ as a table, and sentences on how to read it."""
    lines = changed_figures(compared)
    if lines:
        titles = [*TITLES[:4], "difference, 95 %"]  # its interval is enough
        table = [[*line[:4], line[5]] for line in lines]
        out.show(blocks.figures(titles, table), blocks.line(""))
    out.show(*(blocks.line(note) for note in comparison_notes(compared)))


def changed_figures(compared: Json) -> list[tuple[str, ...]]:
    """Return a line for each figure that differs beyond its interval, as `TITLES` has it."""
    return [
        (
            printable.one_line(name),
            printable.one_line(each["metric"]),
            f"{each['before']:.4g}",
            f"{each['after']:.4g}",
            f"{each['difference']:+.4g}",
            f"{each['ci95'][0]:+.3g} to {each['ci95'][1]:+.3g}",
        )
        for name, each in beyond(compared)
    ]


def comparison_notes(compared: Json) -> Iterator[str]:
    """Yield sentences: the number of figures that differ, how to read it, other differences."""
    figures = [each for entry in compared["rows"] for each in entry["figures"]]
    tested = [each for each in figures if each["ci95"] is not None]
    count, equal = len(beyond(compared)), sum(each["difference"] == 0 for each in figures)
    yield (
        f"{len(figures):,} figures compared: {equal:,} equal, {count:,} of {len(tested):,} with an "
        "interval differ beyond it."
    )
    if compared["shared_draws"]:
        yield (
            "The reports share model, seed, prompts and contexts, so the intervals, which are for "
            "independent samples, are wide: a difference within one may be real too."
        )
    else:
        yield (
            "The intervals are for independent samples; of the figures of equal samplers, "
            f"about {0.05 * len(tested):.0f} would differ beyond their interval by chance."
        )
    for key, place in (("only_before", "first"), ("only_after", "second")):
        if compared[key]:
            names = ", ".join(map(printable.one_line, compared[key]))
            yield f"Only in the {place} report: {names}."
    for each in compared["header"]:
        sides = [printable.one_line(str(each[side])) for side in ("before", "after")]
        short = [text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}\u2026" for text in sides]
        yield f"{printable.one_line(each['key'])}: {short[0]}, then {short[1]}."


def comparison_as_markdown(compared: Json) -> str:
    """Render a comparison as Markdown."""
    lines = [table_row(list(TITLES)), table_row(["---", "---", *["---:"] * 4])]
    lines += [table_row([plain(cell) for cell in line]) for line in changed_figures(compared)]
    table = ["\n".join(lines)] if len(lines) > 2 else []
    return "\n\n".join([*table, *(plain(note) for note in comparison_notes(compared))]) + "\n"
