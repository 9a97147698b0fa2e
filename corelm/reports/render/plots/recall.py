"""Human recall against the mass kept: a filter is calibrated where the two are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corelm.reports.document.lookup import TEACHER_FORCED
from corelm.reports.render.plots import canvas
from corelm.reports.render.plots.canvas import MUTED, TEAL
from corelm.reports.render.plots.marks import DASHED, MARK, cross, extent
from corelm.reports.render.plots.rows import (
    ALL,
    Document,
    ends_of_sweeps,
    name_of_rest,
    named,
    point_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = ("mass_kept", "human_recall", TEACHER_FORCED)
"""Across, up, and their part of the report."""


def recall_against_mass_kept(document: Document) -> Figure:
    """Draw the share of people's words that each sampler keeps against the mass that it keeps."""
    rows = dict(named(document))
    points = {label: point for label, row in rows.items() if (point := point_of(row, *FIGURES))}
    cut = {label: point for label, point in points.items() if min(point) < ALL}
    if rest := [label for label in points if label not in cut]:
        cut[name_of_rest(rest, others=bool(cut))] = (1.0, 1.0)  # they share one point
    drawing, axes = canvas.canvas(right=canvas.RIGHT)
    axes.grid(axis="x")
    for label, point in cut.items():
        if label in rows:
            cross(axes, rows[label], point, *FIGURES)
        axes.plot(*point, "o", color=TEAL, zorder=5, **MARK)
    ends = [*extent(axes, 0), *extent(axes, 1)] if cut else [0, 1]
    low, high = canvas.padded(min(ends), max(ends))
    axes.plot([low, high], [low, high], color=MUTED, lw=1, ls=DASHED, zorder=2)
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_xlabel("mass kept (share of the model's probability)")
    axes.set_ylabel(f"human recall (words at {positions(document):,} positions)")
    shown = ends_of_sweeps(document, cut)
    canvas.name_marks(axes, [cut[label] for label in shown], shown)
    return drawing


def has_recall(document: Document) -> bool:
    """Return True if the recall of a sampler was measured, which takes contexts by people."""
    return any(point_of(row, *FIGURES) for _, row in named(document))


def positions(document: Document) -> int:
    """Return the number of positions at which people wrote a word."""
    return int(document["header"]["contexts"]["positions"])
