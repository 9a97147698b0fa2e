"""Pictures of reports, explanations and generated texts, as figures of matplotlib.

Each function returns a figure: a new one, or the figure of the axes passed as `ax`. A notebook
shows it; `figure.savefig("name.pdf")` saves it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from corelm import Explanation, Generation, Report
from corelm.errors import UsageError
from corelm_pages import canvas
from corelm_pages.canvas import FAINT, INK, MUTED, TEAL
from corelm_pages.charts import drawable
from corelm_pages.curves import (
    entropy_by_position,
    has_positions,
    has_texts,
    surprisal_against_diversity,
)
from corelm_pages.formats import visible
from corelm_pages.labels import shortened
from corelm_pages.report import check_extra, document_of
from corelm_report.document.lookup import share

check_extra("corelm.plot")
canvas.import_matplotlib()

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["entropy", "explanation", "frontier", "surprisal"]

NATS = "model_surprisal", "model_entropy"
Draw = Callable[["Axes | None"], "Figure"]

ROW, HEAD, COLUMN, SHARE = 22.0, 46.0, 150.0, 46.0
"""In points: the heights of a row and of the names, the widths of a column and of a share."""
BOLD = 1.1
"""The width of bold letters relative to regular ones."""
TOKEN = 13.0
"""The width of a token in points."""
NAMED = 60
"""The most tokens with their texts below them."""


def entropy(report: Report, *, ax: Axes | None = None) -> Figure:
    """Draw the mean entropy of each sampler of a report along the text.

    Raises:
        UsageError: a report whose samplers all failed.
    """
    document = drawable(document_of(report))
    if not has_positions(document):
        raise UsageError("this report has no entropies: its samplers failed")
    return _drawn(lambda axes: entropy_by_position(document, axes), ax)


def frontier(report: Report, *, ax: Axes | None = None) -> Figure:
    """Draw the surprisal of each sampler's texts against their diversity, with the Pareto front.

    Raises:
        UsageError: a report whose samplers all failed.
    """
    document = drawable(document_of(report))
    if not has_texts(document):
        raise UsageError("this report has no texts: its samplers failed")
    return _drawn(lambda axes: surprisal_against_diversity(document, axes), ax)


def explanation(explained: Explanation, *, top: int = 10, ax: Axes | None = None) -> Figure:
    """Draw the likeliest next tokens: a row for each, and a column for the model and each stage.

    Args:
        explained: the result of `corelm.explain`.
        top: the number of tokens, of the model and of the last stage each.
        ax: the axes to draw in.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> figure = explanation(corelm.explain(ToyModel(), "the", "top_k(k=2)"))
        >>> [text.get_text() for text in figure.axes[0].texts[:4]]
        ['model', '1.35 nats', 'top_k 2', '0.69 nats']
    """
    return _drawn(lambda axes: _explanation(explained, top, axes), ax)


def surprisal(generation: Generation, *, ax: Axes | None = None) -> Figure:
    """Draw the surprisal of each token of a text under the model, over the model's entropy there.

    Raises:
        UsageError: a text without tokens.
    """
    if not generation.steps:
        raise UsageError("this text has no tokens to draw")
    return _drawn(lambda axes: _surprisal(generation, axes), ax)


def _drawn(draw: Draw, ax: Axes | None) -> Figure:
    """Draw in the style of reports: a new picture, or in the given axes."""
    with canvas.style():
        if ax is None:
            return draw(None)
        with canvas.in_points(canvas.figure_of(ax)):
            return draw(ax)


def _explanation(explained: Explanation, top: int, axes: Axes | None) -> Figure:
    stages, tokens = explained.stages, explained.likeliest(top)
    words = [visible(one.text.strip() or repr(one.text)) for one in tokens]
    left = canvas.widest(words) + 12
    height = canvas.TOP + HEAD + ROW * len(tokens)
    if axes is None:
        whole = left + COLUMN * len(stages)
        drawing = canvas.empty(height, whole)
        area = (left / whole, 0, COLUMN * len(stages) / whole, 1 - canvas.TOP / height)
        axes = drawing.add_axes(area)
    axes.set(xlim=(0, len(stages)), ylim=(len(tokens) - 0.5, -0.5 - HEAD / ROW))
    axes.set_yticks(range(len(tokens)), words, color=INK)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    room = axes.get_window_extent().width / len(stages) - 10
    for at, stage in enumerate(stages):
        name = "model" if stage.sampler is None else shortened(str(stage.sampler))
        while len(name) > 2 and BOLD * canvas.widest([name]) > room:
            name = f"{name[:-2]}…"
        canvas.write(axes, at, -0.5, name, offset=(0, 34), weight="bold")
        canvas.write(axes, at, -0.5, f"{stage.entropy:.2f} nats", offset=(0, 18), color=MUTED)
    _bars(axes, [one.probabilities for one in tokens])
    return canvas.figure_of(axes)


def _bars(axes: Axes, rows: list[tuple[float, ...]]) -> None:
    """Draw the probabilities of tokens, one row for each, and write them to the right of bars."""
    longest = max(max(row) for row in rows)
    wide = axes.get_window_extent().width / max(len(rows[0]), 1)
    room = max(1 - (SHARE + 12) / wide, 0.2) / longest
    for place, row in enumerate(rows):
        axes.axhline(place - 0.5, color=FAINT, lw=0.8, zorder=0)
        for at, p in enumerate(row):
            axes.barh(place, room * p, left=at, height=0.6, color=TEAL, zorder=2)
            ink = INK if p else MUTED
            canvas.write(axes, at + room * p, place, share(p), offset=(5, 0), color=ink)


def _surprisal(generation: Generation, axes: Axes | None) -> Figure:
    steps = generation.steps
    named = len(steps) <= NAMED
    texts = [visible(step.text.strip() or repr(step.text)) for step in steps] if named else []
    drawing, axes = canvas.canvas(canvas.RIGHT, axes=axes or _axes_over(texts))
    nats, entropies = ([getattr(step, name) for step in steps] for name in NATS)
    places = range(1, len(steps) + 1)
    top = 1.2 * max(filter(math.isfinite, [*nats, *entropies, 1e-9]))
    nats = [min(each, top) for each in nats]  # a token that the model itself can't draw
    axes.bar(places, nats, width=0.7, color=TEAL, alpha=0.7, zorder=2, label="surprisal of a token")
    axes.step(places, entropies, where="mid", color=INK, zorder=3, label="entropy of the model")
    axes.set(xlim=(0.4, len(steps) + 0.6), ylim=(0, top), ylabel="nats")
    if named:
        axes.set_xticks(places, texts, rotation=90)
    else:
        axes.set_xlabel("position in the text (tokens)")
    axes.legend(frameon=False, loc="upper right", ncols=2)
    return drawing


def _axes_over(texts: list[str]) -> Axes:
    """Return axes of a new picture, with room for upright texts below them."""
    left, below = canvas.LEFT, max(canvas.widest(texts) + 12, canvas.BOTTOM)
    wide = max(canvas.WIDTH, left + canvas.RIGHT + TOKEN * len(texts))
    high = canvas.HEIGHT - canvas.BOTTOM + below
    size = 1 - (left + canvas.RIGHT) / wide, 1 - (below + canvas.TOP) / high
    return canvas.empty(high, wide).add_axes((left / wide, below / high, *size))
