"""Figures against the parameter of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from corelm.reports.document.lookup import GENERATED, TEACHER_FORCED, value
from corelm.reports.render.plots import canvas
from corelm.reports.render.plots.canvas import HUMAN, LINES
from corelm.reports.render.plots.marks import DASHED, DOTTED
from corelm.reports.render.plots.rows import Document, Sweep, ends_of, sweeps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = (
    ("entropy", TEACHER_FORCED, "entropy (nats)"),
    ("surprisal", GENERATED, "surprisal (nats)"),
    ("diversity", GENERATED, "diversity"),
)
PANEL = 92.0
"""The height of a row of panels in points."""
PATTERNS = ("-", DASHED, DOTTED, (0, (6, 1, 1, 1)))
"""The patterns of lines, so that colour is not the only sign."""
COLOURS = (0, 4, 2, 5, 1, 3)
"""The order in which sweeps take colours: neighbours that differ much come first."""
LOGARITHMIC = 30.0
"""The ratio of the largest to the smallest value from which the axis is logarithmic."""


def figures_of_sweeps(document: Document) -> Figure:
    """Draw a row of panels for each figure: a column for each parameter, a line for each sweep."""
    found = sweeps(document)
    parameters = list(dict.fromkeys(sweep.parameter for sweep in found))
    people = document["reference"]
    top = canvas.TOP + canvas.LINE * (len(found) + bool(people))
    height = top + canvas.BOTTOM + PANEL * len(FIGURES)
    drawing = canvas.empty(height)
    rows = canvas.panels(drawing, canvas.LEFT, top, len(parameters) or 1, len(FIGURES))
    for row, (metric, view, title) in zip(rows, FIGURES, strict=True):
        row[0].set_ylabel(title)
        row[0].yaxis.set_label_coords(-32 / row[0].get_window_extent().width, 0.5)
        human = value(people, metric, view)
        for axes, parameter in zip(row, parameters, strict=False):
            axes.grid(axis="y")
            axes.locator_params(axis="y", nbins=4)
            if human is not None:
                axes.axhline(human, color=HUMAN, lw=1, ls=DASHED, zorder=2)
            for at, sweep in enumerate(found):
                if sweep.parameter == parameter:
                    _line(axes, sweep, metric, view, at)
            axes.tick_params(labelbottom=row is rows[-1])
    for axes, parameter in zip(rows[-1], parameters, strict=False):
        axes.set_xlabel(parameter)
    _key(drawing, height, [sweep.label for sweep in found], people is not None)
    return drawing


def _line(axes: Axes, sweep: Sweep, metric: str, view: str, at: int) -> None:
    """Draw one figure of a sweep, with its intervals as a band."""
    settings = [
        (x, y, ends_of(row, metric, view) or (y, y))
        for x, (_, row) in zip(sweep.values, sweep.rows, strict=True)
        if (y := value(row, metric, view)) is not None
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
        ends = [canvas.LEFT / canvas.WIDTH, (canvas.LEFT + 28) / canvas.WIDTH]
        drawing.add_artist(Line2D(ends, [up, up], color=colour, ls=pattern, lw=1.6))
        drawing.text((canvas.LEFT + 36) / canvas.WIDTH, up, name, va="center")


def _look(at: int) -> tuple[str, Any]:
    """The colour and the pattern of the line of a sweep."""
    return LINES[COLOURS[at % len(COLOURS)]], PATTERNS[at % len(PATTERNS)]
