"""Panels of several figures: of matched samplers, and along sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from corelm.reports.document.content import Document, Entry, HumanEntry
from corelm.reports.document.figures import GENERATED, TEACHER_FORCED, declared
from corelm.reports.document.lookup import value
from corelm.reports.render.plots import canvas
from corelm.reports.render.plots.canvas import BAND, DASHED, DOTTED, HUMAN, INK, LINES, MARK, TEAL
from corelm.reports.render.plots.entries import Sweep, ends_of, named, sweeps

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
"""Randomness, likelihood, repetition, variety, the cut; without the one that is the same."""
SWEPT = COMPARED[:3]
DOT: dict[str, Any] = MARK | {"ms": 6, "zorder": 5}
STEP, LEAST = 18.0, 160.0
"""The height of a row, and the least height of the panels, in points."""
PANEL = 92.0
"""The height of a row of panels in points."""
PATTERNS = ("-", DASHED, DOTTED, (0, (6, 1, 1, 1)))
"""The patterns of lines, so that colour is not the only sign."""
COLOURS = (0, 4, 2, 5, 1, 3)
"""The order in which sweeps take colours: neighbours that differ much come first."""
LOGARITHMIC = 30.0
"""The ratio of the largest to the smallest value from which the axis is logarithmic."""


def matched_samplers(document: Document) -> Figure:
    """Draw a panel for each figure, with a dot for each sampler and a line for human text."""
    human = document.human
    entries: list[tuple[str, Entry]] = [("human text", human)] if human else []
    entries += named(document)
    same = {target.figure for target in document.header.matched}
    shown = [
        each
        for each in COMPARED
        if {each[0]} != same and any(value(entry, *each) is not None for _, entry in entries)
    ]
    height = canvas.TOP + canvas.BOTTOM + max(STEP * (len(entries) + 1), LEAST)
    drawing = canvas.empty(height)
    labels = [label for label, _ in entries]
    [panels] = canvas.panels(drawing, canvas.widest(labels) + 12, canvas.TOP, len(shown) or 1, 1)
    for axes, (figure, view) in zip(panels, shown, strict=False):
        axes.set_xlabel(declared(figure, view).axis)
        _dots(axes, [entry for _, entry in entries], figure, view)
    panels[0].set_yticks(range(len(entries)), labels)
    panels[0].set_ylim(len(entries) - 0.5, -0.5)
    for text, (_, entry) in zip(panels[0].get_yticklabels(), entries, strict=True):
        text.set_color(HUMAN if isinstance(entry, HumanEntry) else INK)
    return drawing


def _dots(axes: Axes, entries: Sequence[Entry], figure: str, view: str) -> None:
    """Draw one figure of all entries, each on its own height."""
    axes.grid(axis="y")
    low, high = [], []
    for at, entry in enumerate(entries):
        found = value(entry, figure, view)
        if found is None:
            continue
        ends = ends_of(entry, figure, view) or (found, found)
        low.append(min(ends[0], found))
        high.append(max(ends[1], found))
        is_human = isinstance(entry, HumanEntry)
        colour, form = (HUMAN, "D") if is_human else (TEAL, "o")
        if is_human:
            axes.axvspan(*ends, color=BAND, lw=0, zorder=0)
            axes.axvline(found, color=colour, lw=1, ls=DASHED, zorder=1)
        axes.plot(ends, [at, at], color=colour, lw=1.6, alpha=0.6, zorder=4)
        axes.plot(found, at, form, color=colour, **DOT)
    if low:
        axes.set_xlim(*canvas.padded(min(low), max(high), 0.12))
    ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks([*dict.fromkeys((*ticks[:1], *ticks[-1:]))])  # there is room for two labels


def figures_of_sweeps(document: Document) -> Figure:
    """Draw a row of panels for each figure: a column for each parameter, a line for each sweep."""
    found = sweeps(document)
    parameters = list(dict.fromkeys(sweep.parameter for sweep in found))
    human = document.human
    top = canvas.TOP + canvas.LINE * (len(found) + bool(human))
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
            for at, sweep in enumerate(found):
                if sweep.parameter == parameter:
                    _line(axes, sweep, figure, view, at)
            axes.tick_params(labelbottom=row is rows[-1])
    for axes, parameter in zip(rows[-1], parameters, strict=False):
        axes.set_xlabel(parameter)
    _key(drawing, height, [sweep.label for sweep in found], human is not None)
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
    axes.plot(x, heights, color=colour, ls=pattern, marker="o", ms=3, zorder=3)
    if min(x) > 0 and max(x) / min(x) >= LOGARITHMIC:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")


def _key(drawing: Figure, height: float, names: Sequence[str], human: bool) -> None:
    """Name the lines above the panels, one below the other."""
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
