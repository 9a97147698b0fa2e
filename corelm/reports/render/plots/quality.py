"""Quality against diversity of the generated texts, with the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corelm.reports.document.fronts import front
from corelm.reports.document.lookup import GENERATED
from corelm.reports.render.plots import canvas
from corelm.reports.render.plots.canvas import HUMAN, TEAL
from corelm.reports.render.plots.marks import MARK, cross, extent
from corelm.reports.render.plots.rows import Document, ends_of_sweeps, named, point_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = ("diversity", "surprisal", GENERATED)
"""Across, up, and their part of the report."""


def quality_against_diversity(document: Document) -> Figure:
    """Draw surprisal against diversity of each sampler's texts, with the Pareto front."""
    rows = dict(named(document))
    points = {label: point for label, row in rows.items() if (point := point_of(row, *FIGURES))}
    drawing, axes = canvas.canvas(right=canvas.RIGHT)
    if points:
        axes.plot(*zip(*front(points.values()), strict=True), color=TEAL, lw=1, alpha=0.5, zorder=2)
    for label, point in points.items():
        cross(axes, rows[label], point, *FIGURES)
        axes.plot(*point, "o", color=TEAL, zorder=5, **MARK)
    if (person := point_of(document["reference"], *FIGURES)) is not None:
        axes.plot(*person, "D", color=HUMAN, zorder=6, **MARK)
        points["human text"] = person
    axes.set_xlabel("diversity of the texts (1: nothing is repeated)")
    axes.set_ylabel("surprisal under the model (nats per token)")
    if points:
        axes.set(xlim=canvas.padded(*extent(axes, 0)), ylim=canvas.padded(*extent(axes, 1))[::-1])
    shown = ends_of_sweeps(document, points)
    canvas.name_marks(axes, [points[label] for label in shown], shown)
    return drawing
