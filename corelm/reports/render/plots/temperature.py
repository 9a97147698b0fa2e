"""Entropy against temperature, with every sampler as a mark on the curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from corelm.reports.document.content import Document, SamplerEntry
from corelm.reports.document.figures import TEACHER_FORCED
from corelm.reports.document.lookup import value
from corelm.reports.render.plots import canvas
from corelm.reports.render.plots.canvas import DASHED, DOTTED, HUMAN, MARK, MUTED, TEAL
from corelm.reports.render.plots.entries import Point, ends_of_sweeps, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_RANGE = 2.0
"""The temperature to which the plot reaches at least, unless it shows a part of the curve."""

ZOOM = 0.15
"""The temperatures around the marks that a plot of a part of the curve shows at least."""

SAME = 0.01
"""Nats by which a sampler's entropy may differ from the curve's at its own temperature."""


def entropy_against_temperature(document: Document) -> Figure:
    """Draw the curve, both bounds, the human line, and every sampler as a mark on the curve."""
    greatest = document.bounds.max
    t, entropy = _curve(document)
    places = {
        label: place for label, entry in named(document) if (place := _place(entry, t, entropy))
    }
    drawing, axes = canvas.canvas(right=56)
    human = value(document.human, "entropy", TEACHER_FORCED)
    _frame(axes, document, list(places.values()), human)
    end = axes.get_xlim()[1]
    axes.set_xlabel("temperature")
    axes.set_ylabel("mean entropy (nats)")
    axes.plot(t, entropy, color=TEAL, zorder=3)
    if axes.get_ylim()[1] > greatest:
        axes.axhline(greatest, color=MUTED, lw=1, zorder=2)
        bound = f"largest possible: ln {document.drawable:,} = {greatest:.2f}"
        canvas.write(axes, 0, greatest, bound, offset=(6, canvas.ABOVE), color=MUTED)
    for x, y in places.values():
        kind = ">" if x > end else "o"
        axes.plot(min(x, end), y, kind, color=TEAL, zorder=5, clip_on=False, **MARK)
    crossing = None if human is None else _human_crossing(axes, human, t, entropy)
    shown = ends_of_sweeps(document, places)
    marks = [(min(places[label][0], end), places[label][1]) for label in shown]
    if canvas.name_marks(axes, marks, shown):
        _choices(axes)
    if human is not None:
        _name_human(axes, human, crossing)
    return drawing


def _name_human(axes: Axes, mean: float, crossing: float | None) -> None:
    """Name the human line and its temperature: both at the line, or the one at the axis."""
    name, bottom = f"human text: {mean:.2f}", axes.get_ylim()[0]
    short = canvas.along_level(axes, mean, name)
    if crossing is None:
        canvas.write_clear(axes, short, HUMAN)
        return
    t = f"t = {crossing:.2f}"
    long = canvas.along_level(axes, mean, f"{name} ({t})")
    if canvas.write_clear(axes, [*long, *short], HUMAN).name == name:
        canvas.write_clear(axes, [canvas.Place(t, (crossing, bottom), (5, 9))], HUMAN)


def _curve(document: Document) -> tuple[Sequence[float], Sequence[float]]:
    """Return the curve, extended to temperature 0, where only the likeliest token is left."""
    return [0.0, *document.curve.t], [0.0, *document.curve.entropy]


def _place(entry: SamplerEntry, t: Sequence[float], entropy: Sequence[float]) -> Point | None:
    """Place a sampler on the curve: at its own temperature, or where the curve has its entropy.

    Where the curve is flat, many temperatures have the sampler's entropy, so a temperature goes
    to its own one, provided that the curve agrees with it there.
    """
    mean = value(entry, "entropy", TEACHER_FORCED)
    if mean is None:
        return None
    own = entry.temperature
    if own is not None and (own > t[-1] or abs(np.interp(own, t, entropy) - mean) <= SAME):
        return float(own), mean
    if mean > entropy[-1]:
        return math.inf, mean
    return float(np.interp(mean, entropy, t)), mean


def _frame(axes: Axes, document: Document, places: Sequence[Point], human: float | None) -> None:
    """Set the limits: the whole curve, or for matched samplers the part of it around them."""
    t, entropy = _curve(document)
    greatest = document.bounds.max
    end = _last_temperature(t, places)
    low, high, bottom, top = 0.0, end, 0.0, 1.1 * greatest or 1
    if document.header.matched and places:
        crossing = [] if human is None else [float(np.interp(human, entropy, t))]
        at = [x for x in (*(x for x, _ in places), *crossing) if x <= end] or [end]
        low, high = max(min(at) - ZOOM, 0), min(max(at) + ZOOM, end)
        heights = [*np.interp([low, high], t, entropy), *(y for _, y in places)]
        bottom, top = max(min(heights), 0), max(heights) or 1
    axes.set(xlim=(low, high), ylim=(bottom, top))
    axes.locator_params(axis="x", nbins=5)
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= min(top, greatest)])


def _last_temperature(t: Sequence[float], places: Iterable[Point]) -> float:
    """Return the end of the axis: a little beyond the last mark on the curve."""
    last = max((x for x, _ in places if x <= t[-1]), default=0.0)
    return max(LEAST_RANGE, min(1.25 * last, t[-1]))


def _human_crossing(
    axes: Axes, mean: float, t: Sequence[float], entropy: Sequence[float]
) -> float | None:
    """Draw the human line and the place where the curve meets it; return its temperature."""
    (start, end), bottom = axes.get_xlim(), axes.get_ylim()[0]
    axes.axhline(mean, color=HUMAN, lw=1.2, ls=DASHED, zorder=2)
    at = float(np.interp(mean, entropy, t))
    if not (mean < entropy[-1] and start < at < end):
        return None
    axes.plot([at, at], [bottom, mean], color=HUMAN, lw=1, ls=DOTTED, zorder=2)
    return at


def _choices(axes: Axes) -> None:
    """Show the same heights on the right, as numbers of equally likely tokens."""
    other = axes.twinx()
    bottom, top = axes.get_ylim()
    other.set_ylim(bottom, top)
    tens = [k * 10**n for n in range(12) for k in ((1,) if top - bottom > 5 else (1, 2, 5))]
    counts = [count for count in tens if bottom <= math.log(count) <= top]
    other.set_yticks([math.log(n) for n in counts], [f"{n:,}" for n in counts])
    other.set_ylabel("equally likely tokens")
