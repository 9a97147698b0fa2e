"""Draw curves against temperature and position, and two figures of each sampler as points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from corelm_pages import canvas, labels
from corelm_pages.canvas import (
    BAND,
    DASHED,
    DOTTED,
    HUMAN,
    LINES,
    MARK,
    MUTED,
    TEAL,
    extent,
)
from corelm_pages.labels import (
    ALL,
    Labelled,
    Point,
    ends_of,
    ends_of_sweeps,
    mass,
    name_of_rest,
    named,
)
from corelm_report.document.content import Document, Entry, HumanEntry, SamplerEntry, TemperatureFit
from corelm_report.document.figures import EXPECTED, GENERATED, TEACHER_FORCED
from corelm_report.document.lookup import point, value
from corelm_stats.conclusions import front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


LEAST_RANGE = 2.0
"""The least upper end of the temperature axis, unless the plot shows a part of the curve."""

ZOOM = 0.15
"""The least range of temperatures around the marks in a plot of a part of the curve."""

SAME = 0.01
"""The largest difference in nats between a sampler's surprisal and the curve at its temperature."""


def surprisal_against_temperature(document: Document) -> Figure:
    """Draw the curve, the band of human surprisal, and every sampler as a mark on the curve."""
    t, surprisal = _curve(document)
    places = {
        label: place for label, entry in named(document) if (place := _place(entry, t, surprisal))
    }
    drawing, axes = canvas.canvas(right=18)
    fit = document.human.temperature if document.human else None
    _frame(axes, document, list(places.values()), fit)
    end = axes.get_xlim()[1]
    axes.set_xlabel("temperature")
    axes.set_ylabel("expected surprisal (nats)")
    axes.plot(t, surprisal, color=TEAL, zorder=3)
    for x, y in places.values():
        kind = ">" if x > end else "o"
        axes.plot(min(x, end), y, kind, color=TEAL, zorder=5, clip_on=False, **MARK)
    dropped = None if fit is None else _draw_human_level(axes, fit)
    names = ends_of_sweeps(document, places)
    marks = [(min(places[label][0], end), places[label][1]) for label in names]
    labels.name_marks(axes, marks, names)
    if dropped is not None:
        _end_below_leaders(axes, dropped)
    if fit is not None:
        _name_human(axes, fit, None if dropped is None else fit.t)
    return drawing


def _name_human(axes: Axes, fit: TemperatureFit, crossing: float | None) -> None:
    """Label the human level and its temperature, which may be at the axis instead."""
    name, bottom = "human words", axes.get_ylim()[0]
    short = labels.along_level(axes, fit.surprisal, name)
    if crossing is None:
        labels.write_clear(axes, short, HUMAN)
        return
    t = f"t = {crossing:.2f}"
    long = labels.along_level(axes, fit.surprisal, f"{name} ({t})")
    if labels.write_clear(axes, [*long, *short], HUMAN).name == name:
        labels.write_clear(axes, [labels.NamePlace(t, (crossing, bottom), (5, 9))], HUMAN)


def _curve(document: Document) -> tuple[Sequence[float], Sequence[float]]:
    """Return the curve, extended to temperature 0, where it is flat."""
    curve = document.curve
    return [0.0, *curve.t], [*(curve.surprisal[:1] or [0.0]), *curve.surprisal]


def _place(entry: SamplerEntry, t: Sequence[float], surprisal: Sequence[float]) -> Point | None:
    """Place a sampler on the curve: at its own temperature, or where the curve has its surprisal.

    Where the curve is flat, many temperatures have the sampler's surprisal, so a temperature
    sampler is placed at its own temperature, if the curve agrees there.
    """
    mean = value(entry, EXPECTED, TEACHER_FORCED)
    if mean is None or not surprisal:
        return None
    own = entry.temperature
    if own is not None and (own > t[-1] or abs(np.interp(own, t, surprisal) - mean) <= SAME):
        return float(own), mean
    if mean > surprisal[-1]:
        return math.inf, mean
    return float(np.interp(mean, surprisal, t)), mean


def _frame(
    axes: Axes, document: Document, places: Sequence[Point], fit: TemperatureFit | None
) -> None:
    """Set the limits: the whole curve, or for matched samplers the part of it around them."""
    t, surprisal = _curve(document)
    # A little beyond the last mark on the curve.
    end = max(LEAST_RANGE, min(1.25 * max((x for x, _ in places if x <= t[-1]), default=0), t[-1]))
    human = [] if fit is None else [fit.surprisal]
    heights = [*(y for _, y in places), *human, *np.interp([end], t, surprisal)]
    low, high, bottom, top = 0.0, end, 0.0, 1.1 * max(heights, default=0) or 1
    if document.header.matched and places:
        crossing = [] if fit is None or fit.t is None else [fit.t]
        at = [x for x in (*(x for x, _ in places), *crossing) if x <= end] or [end]
        low, high = max(min(at) - ZOOM, 0), min(max(at) + ZOOM, end)
        heights = [*np.interp([low, high], t, surprisal), *(y for _, y in places)]
        bottom, top = max(min(heights), 0), max(heights) or 1
    axes.set(xlim=(low, high), ylim=(bottom, top))
    axes.locator_params(axis="x", nbins=5)
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= top])


def _draw_human_level(axes: Axes, fit: TemperatureFit) -> Line2D | None:
    """Draw the human level and its band; return the vertical line below the crossing."""
    (start, end), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if fit.ci95 is not None:
        low, high = np.clip(fit.ci95, bottom, top)
        axes.axhspan(low, high, color=BAND, lw=0, zorder=0)
    axes.axhline(fit.surprisal, color=HUMAN, lw=1.2, ls=DASHED, zorder=2)
    if fit.t is None or not start < fit.t < end:
        return None
    ends = [fit.t, fit.t], [bottom, fit.surprisal]
    [dropped] = axes.plot(*ends, color=HUMAN, lw=1, ls=DOTTED, zorder=2)
    return dropped


def _end_below_leaders(axes: Axes, dropped: Line2D) -> None:
    """Shorten a line so that it doesn't cross the lines from names to marks."""
    ends = np.asarray(dropped.get_xydata(), dtype=np.float64)
    (across, least), (_, most) = canvas.to_points(axes, ends.tolist())
    lowest = [
        box.bottom
        for box in labels.leaders(axes)
        if box.left < across < box.right and box.bottom < most
    ]
    if lowest:
        end = max(min(lowest) - canvas.LINE / 2, least)
        dropped.set_ydata([ends[0, 1], axes.transData.inverted().transform((across, end))[1]])


MOST_LINES = 12
"""The most lines by position that can be told apart."""


def _spread(entries: list[Labelled]) -> list[Labelled]:
    """Return at most `MOST_LINES` samplers, evenly spread by the rank of their entropy."""
    rising = sorted(entries, key=_entropy)
    at = np.linspace(0, len(rising) - 1, min(MOST_LINES, len(rising))).round().astype(int)
    chosen = {rising[i][0] for i in at}
    return [(label, entry) for label, entry in entries if label in chosen]


def _entropy(labelled: Labelled) -> float:
    return value(labelled[1], "entropy", TEACHER_FORCED) or 0


def entropy_by_position(document: Document, axes: Axes | None = None) -> Figure:
    """Draw the mean entropy at each position, of at most `MOST_LINES` samplers."""
    entries = _spread(named(document))
    drawing, axes = _positions([label for label, _ in entries], axes)
    axes.set_ylabel("mean entropy (nats)")
    ends = _draw_lines(axes, entries, "entropy", _colours(entries))
    if axes.lines:
        axes.set_ylim(*canvas.padded(*extent(axes, 1)))
    labels.name_lines(axes, list(ends.values()), list(ends))
    return drawing


def mass_kept_by_position(document: Document) -> Figure:
    """Draw the mean share of the model's probability that can still be drawn, by position."""
    entries = named(document)
    cut = _spread([(label, entry) for label, entry in entries if (mass(entry) or 1) < ALL])
    whole = [(label, entry) for label, entry in entries if (mass(entry) or 0) >= ALL]
    # All lines at 1 coincide, so draw one for all.
    rest = name_of_rest([label for label, _ in whole], others=bool(cut))
    if len(cut) + len(whole) < len(entries):
        rest = "nothing cut"
    one_of_them = [(rest, entry) for _, entry in whole[:1]]
    lines = cut + one_of_them
    drawing, axes = _positions([label for label, _ in lines])
    axes.set_ylabel("mass kept (share of the model's)")
    colours = _colours(entries) | {label: MUTED for label, _ in one_of_them}
    ends = _draw_lines(axes, lines, "mass_kept", colours)
    if axes.lines:
        axes.set_ylim(canvas.padded(extent(axes, 1)[0], 1)[0], 1)
    labels.name_lines(axes, list(ends.values()), list(ends))
    return drawing


def has_positions(document: Document) -> bool:
    """Return True if the entropy of a sampler was measured by position."""
    return any(
        entry.teacher_forced and entry.teacher_forced.by_position for _, entry in named(document)
    )


def has_cuts(document: Document) -> bool:
    """Return True if a sampler removes a part of the model's probability."""
    masses = [mass(entry) for _, entry in named(document)]
    return has_positions(document) and any(each is not None and each < ALL for each in masses)


def _positions(names: Sequence[str], axes: Axes | None = None) -> tuple[Figure, Axes]:
    """Return empty axes over positions, with room on the right for the names of lines."""
    height, right = labels.height_for(len(names)), labels.NAMES + canvas.widest(names)
    drawing, axes = canvas.canvas(right, height, axes)
    axes.set_xlabel("position in the text (tokens)")
    return drawing, axes


def _colours(entries: Sequence[Labelled]) -> dict[str, str]:
    """Return a colour for each sampler, in the order of their entropies; neighbours' differ."""
    rising = sorted(entries, key=_entropy)
    # A few are spread over all colours; of many, those with one colour are far apart.
    step = len(LINES) / len(rising) if 0 < len(rising) <= len(LINES) else 1
    return {label: LINES[int(at * step) % len(LINES)] for at, (label, _) in enumerate(rising)}


def _draw_lines(
    axes: Axes, entries: Sequence[Labelled], key: str, colours: Mapping[str, str]
) -> dict[str, Point]:
    """Draw a line for each sampler, and return the ends of these lines by label."""
    ends: dict[str, Point] = {}
    for label, entry in entries:
        places = entry.teacher_forced.by_position if entry.teacher_forced else []
        line = [
            (place["position"] + 1, place[key])
            for place in places
            if isinstance(place.get(key), int | float)
        ]
        if line:
            axes.plot(
                *zip(*line, strict=True), color=colours[label], lw=1.3, zorder=3, clip_on=False
            )
            ends[label] = line[-1]
    last = max((x for x, _ in ends.values()), default=2)
    axes.set_xlim(1, max(last, 2))
    return ends


SURPRISAL = ("diversity", "surprisal", GENERATED)
RECALL = ("mass_kept", "human_recall", TEACHER_FORCED)
"""The horizontal and the vertical figure, and their view."""


def _points(document: Document, figures: tuple[str, str, str]) -> dict[str, Point]:
    """Return the samplers' points by label, of the two figures of a view."""
    return {label: at for label, entry in named(document) if (at := point(entry, *figures))}


def surprisal_against_diversity(document: Document, axes: Axes | None = None) -> Figure:
    """Draw surprisal against diversity of each sampler's texts, with the Pareto front."""
    fixed = axes is not None
    entries, points = dict(named(document)), _points(document, SURPRISAL)
    drawing, axes = canvas.canvas(canvas.RIGHT, axes=axes)
    if points:
        axes.plot(*zip(*front(points.values()), strict=True), color=TEAL, lw=1, alpha=0.5, zorder=2)
    for label, at in points.items():
        cross(axes, entries[label], at, *SURPRISAL)
        axes.plot(*at, "o", color=TEAL, zorder=5, clip_on=False, **MARK)
    if document.human and (human := point(document.human, *SURPRISAL)) is not None:
        cross(axes, document.human, human, *SURPRISAL)
        axes.plot(*human, "D", color=HUMAN, zorder=6, **MARK)
        points["human text"] = human
    axes.set_xlabel("diversity of the texts (1: nothing is repeated)")
    axes.set_ylabel("surprisal under the model (nats per token)")
    if points:
        across = canvas.within(0, 1, canvas.padded(*extent(axes, 0)))
        axes.set(xlim=across, ylim=canvas.padded(*extent(axes, 1)))
    names = ends_of_sweeps(document, points)
    labels.name_marks(axes, [points[label] for label in names], names, fixed)
    return drawing


def recall_against_mass_kept(document: Document) -> Figure:
    """Draw the share of human words that each sampler keeps against the mass that it keeps."""
    entries, points = dict(named(document)), _points(document, RECALL)
    cut = {label: at for label, at in points.items() if min(at) < ALL}
    if rest := [label for label in points if label not in cut]:
        cut[name_of_rest(rest, others=bool(cut))] = (1.0, 1.0)  # they coincide
    drawing, axes = canvas.canvas(right=canvas.RIGHT)
    axes.grid(axis="x")
    for label, at in cut.items():
        if label in entries:
            cross(axes, entries[label], at, *RECALL)
        axes.plot(*at, "o", color=TEAL, zorder=5, clip_on=False, **MARK)
    ends = [*extent(axes, 0), *extent(axes, 1)] if cut else [0, 1]
    low, high = canvas.within(0, 1, canvas.padded(min(ends), max(ends)))
    axes.plot([low, high], [low, high], color=MUTED, lw=1, ls=DASHED, zorder=2)
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_xlabel("mass kept (share of the model's probability)")
    axes.set_ylabel(f"human recall (words at {document.header.contexts.positions:,} positions)")
    names = ends_of_sweeps(document, cut)
    labels.name_marks(axes, [cut[label] for label in names], names)
    return drawing


def has_recall(document: Document) -> bool:
    """Return True if a sampler's recall was measured, which needs human contexts.

    False if all samplers were matched to one of the two figures: they would form a line.
    """
    matched = {target.figure for target in document.header.matched}
    if matched and matched <= {*RECALL[:2]}:
        return False
    return bool(_points(document, RECALL))


def has_texts(document: Document) -> bool:
    """Return True if the texts of a sampler were measured."""
    return bool(_points(document, SURPRISAL))


def cross(axes: Axes, entry: Entry, at: Point, across: str, up: str, view: str) -> None:
    """Draw the 95 % intervals of two figures through their point, if there are any."""
    x, y = at
    colour = HUMAN if isinstance(entry, HumanEntry) else TEAL
    how: dict[str, Any] = {"color": colour, "lw": 1, "alpha": 0.6, "zorder": 4}
    if ends := ends_of(entry, across, view):
        axes.plot(ends, [y, y], **how)
    if ends := ends_of(entry, up, view):
        axes.plot([x, x], ends, **how)
