"""Panels of several figures, for matched samplers and for sweeps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from corelm_pages import canvas
from corelm_pages.canvas import BAND, DASHED, DOTTED, HUMAN, INK, LINES, MARK, TEAL
from corelm_pages.labels import Sweep, ends_of, named, sweeps
from corelm_report.document.content import Document, Entry, HumanEntry
from corelm_report.document.figures import GENERATED, SHARE, TEACHER_FORCED
from corelm_report.document.lookup import declared, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COMPARED = (
    ("entropy", TEACHER_FORCED),
    ("surprisal", GENERATED),
    ("diversity", GENERATED),
    ("self_bleu_4", GENERATED),
    ("mass_kept", TEACHER_FORCED),
)
"""The figures of matched samplers: randomness, likelihood, repetition, variety, the cut."""
SWEPT = COMPARED[:3]
DOT: dict[str, Any] = MARK | {"ms": 6, "zorder": 5}
STEP, LEAST = 18.0, 160.0
"""The height of a row, and the least height of the panels, in points."""
PANEL = 92.0
"""The height of a row of panels in points."""
PATTERNS = ("-", DASHED, DOTTED, (0, (6, 1, 1, 1)))
"""The patterns of lines, so that colour is not the only sign."""
COLOURS = (0, 5, 3, 2, 4, 1)
"""The order in which sweeps take colours: clearly different ones first."""
LEAST_GAP = 6.0
"""The least gap between two tick labels, in points."""
LOGARITHMIC = 30.0
"""The axis is logarithmic if the ratio of the largest to the smallest value is at least this."""


def matched_samplers(document: Document) -> Figure:
    """Draw a panel for each figure, with a dot for each sampler and a line for human text."""
    human = document.human
    entries: list[tuple[str, Entry]] = [("human text", human)] if human else []
    entries += named(document)
    same = {target.figure for target in document.header.matched}
    figures = [
        each
        for each in COMPARED
        if {each[0]} != same and any(value(entry, *each) is not None for _, entry in entries)
    ]
    labels = [label for label, _ in entries]
    left = canvas.widest(labels) + 12
    up = _rows(left, [declared(*each).axis for each in figures])
    high = max(STEP * (len(entries) + 1), LEAST if up == 1 else 0)
    drawing = canvas.empty(canvas.TOP + (high + canvas.BOTTOM) * up)
    across = math.ceil(len(figures) / up) or 1
    rows = canvas.panels(drawing, left, canvas.TOP, across, up, between=canvas.BOTTOM)
    panels = [axes for row in rows for axes in row]
    for axes, (figure, view) in zip(panels, figures, strict=False):
        axes.set_xlabel(declared(figure, view).axis)
        _dots(axes, [entry for _, entry in entries], figure, view)
    for first in (row[0] for row in rows):
        first.set_yticks(range(len(entries)), labels)
        first.set_ylim(len(entries) - 0.5, -0.5)
        for text, (_, entry) in zip(first.get_yticklabels(), entries, strict=True):
            text.set_color(HUMAN if isinstance(entry, HumanEntry) else INK)
    for axes in panels[len(figures) or 1 :]:
        axes.remove()
    return drawing


def has_figures(document: Document) -> bool:
    """Return True if a sampler has one of the figures that are compared."""
    return any(value(entry, *each) is not None for _, entry in named(document) for each in COMPARED)


def _rows(left: float, titles: Sequence[str]) -> int:
    """Return the number of panel rows that leaves enough room between titles."""
    for rows in range(1, len(titles)):
        across = math.ceil(len(titles) / rows)
        room = canvas.panel_width(left, across) + canvas.GAP - 6
        if across == 1 or canvas.widest(titles) <= room:
            return rows
    return len(titles) or 1


def _dots(axes: Axes, entries: Sequence[Entry], figure: str, view: str) -> None:
    """Draw one figure of all entries, each at its own height."""
    axes.grid(axis="y")
    low, high = [], []
    for at, entry in enumerate(entries):
        middle = value(entry, figure, view)
        if middle is None:
            continue
        ends = ends_of(entry, figure, view) or (middle, middle)
        low.append(min(ends[0], middle))
        high.append(max(ends[1], middle))
        is_human = isinstance(entry, HumanEntry)
        colour, form = (HUMAN, "D") if is_human else (TEAL, "o")
        if is_human:
            axes.axvspan(*ends, color=BAND, lw=0, zorder=0)
            axes.axvline(middle, color=colour, lw=1, ls=DASHED, zorder=1)
        axes.plot(ends, [at, at], color=colour, lw=1.6, alpha=0.6, zorder=4)
        axes.plot(middle, at, form, color=colour, **DOT)
    if low:
        axes.set_xlim(*_ends(figure, view, canvas.padded(min(low), max(high), 0.12)))
    _few_ticks(axes)


def _ends(figure: str, view: str, ends: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a figure's axis, for a share within 0 and 1."""
    return canvas.within(0, 1, ends) if declared(figure, view).unit == SHARE else ends


def _few_ticks(axes: Axes) -> None:
    """Write two or three ticks under a narrow panel, as one tick doesn't show the scale.

    If there is no room for two, write one.
    """
    fitting = [ticks for ticks in _choices(*axes.get_xlim()) if _have_room(axes, ticks)]
    several = [ticks for ticks in fitting if len(ticks) > 1]
    axes.set_xticks([*several, *fitting, [sum(axes.get_xlim()) / 2]][0])


def _choices(low: float, high: float) -> Iterator[list[float]]:
    """Yield sets of round ticks, the best first: a coarse grid, then two ticks of a finer one."""
    from matplotlib.ticker import MaxNLocator

    grids = []
    for bins in (3, 2, 1, 4, 8, 12):
        places = MaxNLocator(bins, steps=[1, 2, 5, 10], min_n_ticks=1).tick_values(low, high)
        grids.append([float(place) for place in places if low <= place <= high])
    yield from filter(None, grids[:3])
    yield from ([ticks[i], ticks[-1 - i]] for ticks in grids for i in range(len(ticks) // 2))


def _have_room(axes: Axes, ticks: Sequence[float]) -> bool:
    """Return True if no tick label touches the next one, in this panel or the next panel."""
    halves = [canvas.widest([canvas.tick(each)]) / 2 for each in ticks]
    at = [x for x, _ in canvas.to_points(axes, [(each, 0) for each in ticks])]
    frame = axes.get_window_extent()
    outside = max(frame.x0 - at[0] + halves[0], at[-1] + halves[-1] - frame.x1)
    gaps = [b - a for a, b in pairwise(at)]
    needed = [a + b + LEAST_GAP for a, b in pairwise(halves)]
    apart = all(gap >= need for gap, need in zip(gaps, needed, strict=True))
    return apart and outside <= (canvas.GAP - LEAST_GAP) / 2


def figures_of_sweeps(document: Document) -> Figure:
    """Draw a row of panels for each figure: a column for each parameter, a line for each sweep."""
    every = sweeps(document)
    parameters = list(dict.fromkeys(sweep.parameter for sweep in every))
    human = document.human
    top = canvas.TOP + canvas.LINE * (len(every) + bool(human))
    height = top + canvas.BOTTOM + PANEL * len(SWEPT)
    drawing = canvas.empty(height)
    rows = canvas.panels(drawing, canvas.LEFT, top, len(parameters) or 1, len(SWEPT))
    for row, (figure, view) in zip(rows, SWEPT, strict=True):
        row[0].set_ylabel(declared(figure, view).axis)
        row[0].yaxis.set_label_coords(-32 / row[0].get_window_extent().width, 0.5)
        human_value = value(human, figure, view)
        for axes, parameter in zip(row, parameters, strict=False):
            axes.grid(axis="y")
            axes.locator_params(axis="y", nbins=4)
            if human_value is not None:
                axes.axhline(human_value, color=HUMAN, lw=1, ls=DASHED, zorder=2)
            for at, sweep in enumerate(every):
                if sweep.parameter == parameter:
                    _line(axes, sweep, figure, view, at)
            axes.set_ylim(*_ends(figure, view, axes.get_ylim()))
            axes.tick_params(labelbottom=row is rows[-1])
    for axes, parameter in zip(rows[-1], parameters, strict=False):
        axes.set_xlabel(parameter)
    _key(drawing, height, [sweep.label for sweep in every], human is not None)
    return drawing


def _line(axes: Axes, sweep: Sweep, figure: str, view: str, at: int) -> None:
    """Draw one figure of a sweep, with its intervals as a band."""
    settings = [
        (x, y, ends_of(entry, figure, view) or (y, y))
        for x, (_, entry) in zip(sweep.values, sweep.entries, strict=True)
        if (y := value(entry, figure, view)) is not None
    ]
    if not settings:
        return
    x, heights, ends = zip(*settings, strict=True)
    colour, pattern = _look(at)
    low, high = zip(*ends, strict=True)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0, zorder=1)
    axes.plot(x, heights, color=colour, ls=pattern, marker="o", ms=3, zorder=3, clip_on=False)
    if min(x) > 0 and max(x) / min(x) >= LOGARITHMIC:
        axes.set_xscale("log")
        canvas.shorten_ticks(axes)
        axes.xaxis.set_minor_formatter("")


def _key(drawing: Figure, height: float, names: Sequence[str], human: bool) -> None:
    """Write a key with the names of the lines above the panels."""
    from matplotlib.lines import Line2D

    entries = [(name, *_look(at)) for at, name in enumerate(names)]
    entries += [("human text", HUMAN, DASHED)] if human else []
    for at, (name, colour, pattern) in enumerate(entries):
        up = 1 - (canvas.TOP + canvas.LINE * at) / height
        ends = [canvas.LEFT / canvas.width(), (canvas.LEFT + 28) / canvas.width()]
        drawing.add_artist(Line2D(ends, [up, up], color=colour, ls=pattern, lw=1.6))
        drawing.text((canvas.LEFT + 36) / canvas.width(), up, name, va="center")


def _look(at: int) -> tuple[str, Any]:
    """Return the colour and the pattern of the line of a sweep."""
    return LINES[COLOURS[at % len(COLOURS)]], PATTERNS[at % len(PATTERNS)]
