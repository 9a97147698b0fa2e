"""The figures of matched samplers next to each other: a dot plot with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from corelm.reports.document.lookup import GENERATED, TEACHER_FORCED, value
from corelm.reports.render.plots import canvas
from corelm.reports.render.plots.canvas import BAND, HUMAN, INK, TEAL
from corelm.reports.render.plots.marks import DASHED, MARK
from corelm.reports.render.plots.rows import Document, Row, ends_of, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = (
    ("entropy", TEACHER_FORCED, "entropy (nats)"),
    ("surprisal", GENERATED, "surprisal (nats)"),
    ("diversity", GENERATED, "diversity"),
    ("self_bleu_4", GENERATED, "self-BLEU-4"),
    ("mass_kept", TEACHER_FORCED, "mass kept"),
)
"""Randomness, likelihood, repetition, variety, the cut; without the one that is the same."""
DOT: dict[str, Any] = MARK | {"ms": 6, "zorder": 5}
STEP, LEAST = 18.0, 160.0
"""The height of a row, and the least height of the panels, in points."""


def matched_samplers(document: Document) -> Figure:
    """Draw a panel for each figure, with a dot for each sampler and a line for human text."""
    people: Row | None = document["reference"]
    rows = [*([("human text", people)] if people else []), *named(document)]
    same = {each["figure"] for each in document["header"]["matched"]}
    shown = [
        each
        for each in FIGURES
        if {each[0]} != same and any(value(row, *each[:2]) is not None for _, row in rows)
    ]
    height = canvas.TOP + canvas.BOTTOM + max(STEP * (len(rows) + 1), LEAST)
    drawing = canvas.empty(height)
    labels = [label for label, _ in rows]
    [panels] = canvas.panels(drawing, canvas.widest(labels) + 12, canvas.TOP, len(shown) or 1, 1)
    for axes, (metric, view, title) in zip(panels, shown, strict=False):
        axes.set_xlabel(title)
        _dots(axes, [row for _, row in rows], people, metric, view)
    panels[0].set_yticks(range(len(rows)), labels)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    for text, (_, row) in zip(panels[0].get_yticklabels(), rows, strict=True):
        text.set_color(HUMAN if row is people else INK)
    return drawing


def _dots(axes: Axes, rows: Sequence[Row], people: Row | None, metric: str, view: str) -> None:
    """Draw one figure of all rows, each on its own height."""
    axes.grid(axis="y")
    low, high = [], []
    for at, row in enumerate(rows):
        found = value(row, metric, view)
        if found is None:
            continue
        ends = ends_of(row, metric, view) or (found, found)
        low.append(min(ends[0], found))
        high.append(max(ends[1], found))
        colour, form = (HUMAN, "D") if row is people else (TEAL, "o")
        if row is people:
            axes.axvspan(*ends, color=BAND, lw=0, zorder=0)
            axes.axvline(found, color=colour, lw=1, ls=DASHED, zorder=1)
        axes.plot(ends, [at, at], color=colour, lw=1.6, alpha=0.6, zorder=4)
        axes.plot(found, at, form, color=colour, **DOT)
    if low:
        axes.set_xlim(*canvas.padded(min(low), max(high), 0.12))
    ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks([*dict.fromkeys((*ticks[:1], *ticks[-1:]))])  # there is room for two labels
