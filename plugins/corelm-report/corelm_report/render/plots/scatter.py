"""Draw two figures of each sampler as a point: surprisal and diversity, recall and mass kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corelm_report.document.content import Document, Entry, HumanEntry
from corelm_report.document.figure import GENERATED, TEACHER_FORCED
from corelm_report.metrics.conclusions import front
from corelm_report.render.plots import canvas, labels
from corelm_report.render.plots.canvas import DASHED, HUMAN, MARK, MUTED, TEAL, extent
from corelm_report.render.plots.entries import (
    ALL,
    Point,
    ends_of,
    ends_of_sweeps,
    name_of_rest,
    named,
    point_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SURPRISAL = ("diversity", "surprisal", GENERATED)
RECALL = ("mass_kept", "human_recall", TEACHER_FORCED)
"""The horizontal and the vertical figure, and their view."""


def surprisal_against_diversity(document: Document, axes: Axes | None = None) -> Figure:
    """Draw surprisal against diversity of each sampler's texts, with the Pareto front."""
    fixed = axes is not None
    entries = dict(named(document))
    points = {
        label: point for label, entry in entries.items() if (point := point_of(entry, *SURPRISAL))
    }
    drawing, axes = canvas.canvas(canvas.RIGHT, axes=axes)
    if points:
        axes.plot(*zip(*front(points.values()), strict=True), color=TEAL, lw=1, alpha=0.5, zorder=2)
    for label, point in points.items():
        cross(axes, entries[label], point, *SURPRISAL)
        axes.plot(*point, "o", color=TEAL, zorder=5, clip_on=False, **MARK)
    if document.human and (human := point_of(document.human, *SURPRISAL)) is not None:
        cross(axes, document.human, human, *SURPRISAL)
        axes.plot(*human, "D", color=HUMAN, zorder=6, **MARK)
        points["human text"] = human
    axes.set_xlabel("diversity of the texts (1: nothing is repeated)")
    axes.set_ylabel("surprisal under the model (nats per token)")
    if points:
        across = canvas.within(0, 1, canvas.padded(*extent(axes, 0)))
        axes.set(xlim=across, ylim=canvas.padded(*extent(axes, 1)))
    shown = ends_of_sweeps(document, points)
    labels.name_marks(axes, [points[label] for label in shown], shown, fixed)
    return drawing


def recall_against_mass_kept(document: Document) -> Figure:
    """Draw the share of human words that each sampler keeps against the mass that it keeps."""
    entries = dict(named(document))
    points = {
        label: point for label, entry in entries.items() if (point := point_of(entry, *RECALL))
    }
    cut = {label: point for label, point in points.items() if min(point) < ALL}
    if rest := [label for label in points if label not in cut]:
        cut[name_of_rest(rest, others=bool(cut))] = (1.0, 1.0)  # they coincide
    drawing, axes = canvas.canvas(right=canvas.RIGHT)
    axes.grid(axis="x")
    for label, point in cut.items():
        if label in entries:
            cross(axes, entries[label], point, *RECALL)
        axes.plot(*point, "o", color=TEAL, zorder=5, clip_on=False, **MARK)
    ends = [*extent(axes, 0), *extent(axes, 1)] if cut else [0, 1]
    low, high = canvas.within(0, 1, canvas.padded(min(ends), max(ends)))
    axes.plot([low, high], [low, high], color=MUTED, lw=1, ls=DASHED, zorder=2)
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_xlabel("mass kept (share of the model's probability)")
    axes.set_ylabel(f"human recall (words at {positions(document):,} positions)")
    shown = ends_of_sweeps(document, cut)
    labels.name_marks(axes, [cut[label] for label in shown], shown)
    return drawing


def has_recall(document: Document) -> bool:
    """Return True if a sampler's recall was measured, which needs human contexts.

    False if all samplers were matched to one of the two figures: they would form a line.
    """
    matched = {target.figure for target in document.header.matched}
    if matched and matched <= {*RECALL[:2]}:
        return False
    return any(point_of(entry, *RECALL) for _, entry in named(document))


def has_texts(document: Document) -> bool:
    """Return True if the texts of a sampler were measured."""
    return any(point_of(entry, *SURPRISAL) for _, entry in named(document))


def positions(document: Document) -> int:
    """Return the number of positions, each followed by a human word."""
    return document.header.contexts.positions


def cross(axes: Axes, entry: Entry, point: Point, across: str, up: str, view: str) -> None:
    """Draw the 95 % intervals of two figures through their point, if there are any."""
    x, y = point
    colour = HUMAN if isinstance(entry, HumanEntry) else TEAL
    how: dict[str, Any] = {"color": colour, "lw": 1, "alpha": 0.6, "zorder": 4}
    if ends := ends_of(entry, across, view):
        axes.plot(ends, [y, y], **how)
    if ends := ends_of(entry, up, view):
        axes.plot([x, x], ends, **how)
