"""Quality against diversity of the generated texts, with the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corelm.report.document.fronts import front
from corelm.report.document.lookup import GENERATED, value
from corelm.report.render.plots import canvas
from corelm.report.render.plots.canvas import HUMAN, TEAL
from corelm.report.render.plots.marks import MARK, cross, extent
from corelm.report.render.plots.rows import Document, Point, Row, ends_of_sweeps, named

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def quality_against_diversity(document: Document) -> Figure:
    """Draw surprisal against diversity of each sampler's texts, with the Pareto front."""
    rows = {label: row for label, row in named(document) if _quality(row)}
    points = {label: point for label, row in rows.items() if (point := _quality(row))}
    drawing, axes = canvas.canvas(right=canvas.RIGHT)
    if points:
        axes.plot(*zip(*front(points.values()), strict=True), color=TEAL, lw=1, alpha=0.5, zorder=2)
    for label, (x, y) in points.items():
        cross(axes, rows[label], (x, "diversity"), (y, "surprisal"), GENERATED)
        axes.plot(x, y, "o", color=TEAL, zorder=5, **MARK)
    if (person := _quality(document["reference"])) is not None:
        axes.plot(*person, "D", color=HUMAN, zorder=6, **MARK)
        points["human text"] = person
    axes.set_xlabel("diversity of the texts (1: nothing is repeated)")
    axes.set_ylabel("surprisal under the model (nats per token)")
    if points:
        axes.set(xlim=canvas.padded(*extent(axes, 0)), ylim=canvas.padded(*extent(axes, 1))[::-1])
    shown = ends_of_sweeps(document, points)
    canvas.name_marks(axes, [points[label] for label in shown], shown)
    return drawing


def _quality(row: Row | None) -> Point | None:
    x, y = (value(row, metric, GENERATED) for metric in ("diversity", "surprisal"))
    return None if x is None or y is None else (x, y)
