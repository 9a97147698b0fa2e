"""The plots of a report, drawn from its document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from corelm.report.document.lookup import GENERATED, TEACHER_FORCED, figures, value
from corelm.report.render.plots import canvas
from corelm.report.render.plots.canvas import BAND, HUMAN, LINES, MUTED, PAPER, TEAL
from corelm.report.render.plots.labels import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Document = Mapping[str, Any]
Row = Mapping[str, Any]
Point = tuple[float, float]

LEAST_RANGE = 2.0
"""The temperature to which the plot reaches at least."""

SAME = 0.01
"""Nats by which a sampler's entropy may differ from the curve's at its own temperature."""

ALL = 0.9995
"""The mass from which a sampler counts as keeping all of it."""

MARK: dict[str, Any] = {"ms": 7, "mec": PAPER, "mew": 1.2}
DASHED, DOTTED = (0, (4, 2)), (0, (1, 2))


def named(document: Document) -> list[tuple[str, Row]]:
    """Return the samplers that did not fail, each with its label."""
    rows = document["samplers"]
    return [(label, row) for label, row in zip(labels(rows), rows, strict=True) if not row["error"]]


def entropy_against_temperature(document: Document) -> Figure:
    """Draw the curve, both bounds, the human line, and every sampler as a mark on the curve."""
    greatest = document["bounds"]["max"]
    t, entropy = _curve(document)
    places = {label: place for label, row in named(document) if (place := _place(row, t, entropy))}
    end = _last_temperature(t, places.values())
    drawing, axes = canvas.canvas(right=56)
    axes.set(xlim=(0, end), ylim=(0, 1.1 * greatest or 1), xlabel="temperature")
    axes.locator_params(axis="x", nbins=5)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= greatest])
    axes.set_ylabel("mean entropy (nats)")
    axes.plot(t, entropy, color=TEAL, zorder=3)
    axes.axhline(greatest, color=MUTED, lw=1, zorder=2)
    bound = f"largest possible: ln {document['drawable']:,} = {greatest:.2f}"
    canvas.write(axes, 0, greatest, bound, offset=(6, 8), color=MUTED)
    _human_crossing(axes, document, t, entropy)
    for x, y in places.values():
        kind = ">" if x > end else "o"
        axes.plot(min(x, end), y, kind, color=TEAL, zorder=5, clip_on=False, **MARK)
    canvas.name_marks(axes, [(min(x, end), y) for x, y in places.values()], list(places))
    _choices(axes)
    return drawing


def _curve(document: Document) -> tuple[Sequence[float], Sequence[float]]:
    """The curve, extended to temperature 0, where only the likeliest token is left."""
    curve = document["curve"]
    return [0.0, *curve["t"]], [0.0, *curve["entropy"]]


def _place(row: Row, t: Sequence[float], entropy: Sequence[float]) -> Point | None:
    """Place a sampler on the curve: at its own temperature, or where the curve has its entropy.

    Where the curve is flat, many temperatures have the sampler's entropy, so a temperature goes
    to its own one, provided that the curve agrees with it there.
    """
    mean = value(row, "entropy", TEACHER_FORCED)
    if mean is None:
        return None
    own = row.get("temperature")
    if own is not None and (own > t[-1] or abs(np.interp(own, t, entropy) - mean) <= SAME):
        return float(own), mean
    if mean > entropy[-1]:
        return math.inf, mean
    return float(np.interp(mean, entropy, t)), mean


def _last_temperature(t: Sequence[float], places: Iterable[Point]) -> float:
    """The end of the axis: a little beyond the last mark on the curve."""
    last = max((x for x, _ in places if x <= t[-1]), default=0.0)
    return max(LEAST_RANGE, min(1.25 * last, t[-1]))


def _human_crossing(
    axes: Axes, document: Document, t: Sequence[float], entropy: Sequence[float]
) -> None:
    """Draw the human line, and the temperature at which the curve meets it."""
    mean = value(document["reference"], "entropy", TEACHER_FORCED)
    if mean is None:
        return
    end = axes.get_xlim()[1]
    axes.axhline(mean, color=HUMAN, lw=1.2, ls=DASHED, zorder=2)
    text = f"human text: {mean:.2f}"
    canvas.write(axes, end, mean, text, offset=(-2, 8), ha="right", color=HUMAN)
    at = float(np.interp(mean, entropy, t))
    if mean < entropy[-1] and at < end:
        axes.plot([at, at], [0, mean], color=HUMAN, lw=1, ls=DOTTED, zorder=2)
        canvas.write(axes, at, 0, f"t = {at:.2f}", offset=(5, 9), color=HUMAN)


def _choices(axes: Axes) -> None:
    """Show the same heights on the right, as numbers of equally likely tokens."""
    other = axes.twinx()
    other.set_ylim(axes.get_ylim())
    counts = [10**n for n in range(12) if math.log(10**n) <= axes.get_ylim()[1]]
    other.set_yticks([math.log(n) for n in counts], [f"{n:,}" for n in counts])
    other.set_ylabel("equally likely tokens")


def quality_against_diversity(document: Document) -> Figure:
    """Draw surprisal against diversity of each sampler's texts, with the Pareto front."""
    rows = {label: row for label, row in named(document) if _quality(row)}
    points = {label: point for label, row in rows.items() if (point := _quality(row))}
    drawing, axes = canvas.canvas(right=16)
    if points:
        axes.plot(*zip(*front(points.values()), strict=True), color=TEAL, lw=1, alpha=0.5, zorder=2)
    for label, (x, y) in points.items():
        _cross(axes, rows[label], x, y)
        axes.plot(x, y, "o", color=TEAL, zorder=5, **MARK)
    if (person := _quality(document["reference"])) is not None:
        axes.plot(*person, "D", color=HUMAN, zorder=6, **MARK)
        points["human text"] = person
    axes.set(xlim=(0, 1.03), xlabel="diversity of the texts (1: nothing is repeated)")
    axes.set_ylim(1.08 * max((y for _, y in points.values()), default=1) or 1, 0)
    axes.set_ylabel("surprisal under the model (nats per token)")
    canvas.name_marks(axes, list(points.values()), list(points))
    return drawing


def _quality(row: Row | None) -> Point | None:
    x, y = (value(row, metric, GENERATED) for metric in ("diversity", "surprisal"))
    return None if x is None or y is None else (x, y)


def front(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other one beats in both: more diverse and less surprising.

    Example:
        >>> front([(0.1, 1.0), (0.9, 3.0), (0.5, 4.0)])
        [(0.1, 1.0), (0.9, 3.0)]
    """
    best: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[1], -point[0])):
        if not best or x > best[-1][0]:
            best.append((x, y))
    return best


def _cross(axes: Axes, row: Row, x: float, y: float) -> None:
    """Draw the 95 % intervals of both figures, if there are any."""
    intervals = {
        f.metric: (f.low, f.high)
        for f in figures(row)
        if f.view == GENERATED and f.low is not None and f.high is not None
    }
    how: dict[str, Any] = {"color": TEAL, "lw": 1, "alpha": 0.6, "zorder": 4}
    if across := intervals.get("diversity"):
        axes.plot(across, [y, y], **how)
    if up := intervals.get("surprisal"):
        axes.plot([x, x], up, **how)


def entropy_by_position(document: Document) -> Figure:
    """Draw the mean entropy at each position, with the band of human text."""
    rows = named(document)
    drawing, axes = _positions([label for label, _ in rows])
    axes.set_ylim(0, 1.04 * document["bounds"]["max"] or 1)
    axes.set_ylabel("mean entropy (nats)")
    _lines(axes, rows, "entropy", _colours(rows))
    _human_band(axes, document["reference"])
    return drawing


def mass_kept_by_position(document: Document) -> Figure:
    """Draw the mean share of the model's probability that can still be drawn, by position."""
    rows = named(document)
    cut = [(label, row) for label, row in rows if (_mass(row) or 1) < ALL]
    whole = [(label, row) for label, row in rows if (_mass(row) or 0) >= ALL]
    # All lines at 1 are the same line, so one of them is drawn for all.
    one_of_them = [("all others" if cut else "all samplers", row) for _, row in whole[:1]]
    shown = cut + one_of_them
    drawing, axes = _positions([label for label, _ in shown])
    axes.set_ylim(0, 1.04)
    axes.set_ylabel("mass kept (share of the model's)")
    _lines(axes, shown, "mass_kept", _colours(rows) | {label: MUTED for label, _ in one_of_them})
    return drawing


def _mass(row: Row) -> float | None:
    return value(row, "mass_kept", TEACHER_FORCED)


def _positions(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Empty axes over positions, with room on the right for the names of lines."""
    height = max(canvas.HEIGHT, canvas.LINE * (len(names) + 6))
    drawing, axes = canvas.canvas(right=22 + canvas.widest(names), height=height)
    axes.set_xlabel("position in the text (tokens)")
    return drawing, axes


def _colours(rows: Sequence[tuple[str, Row]]) -> dict[str, str]:
    """A colour for each sampler, in the order of their entropies."""
    rising = sorted(rows, key=lambda pair: value(pair[1], "entropy", TEACHER_FORCED) or 0)
    return {label: LINES[at * len(LINES) // len(rising)] for at, (label, _) in enumerate(rising)}


def _human_band(axes: Axes, reference: Row | None) -> None:
    """Draw the mean of human text, and the range of the middle 90 % of its positions."""
    mean, low, high = (
        value(reference, f"entropy.{name}", TEACHER_FORCED) for name in ("mean", "p05", "p95")
    )
    first = axes.get_xlim()[0]
    if mean is not None:
        axes.axhline(mean, color=HUMAN, lw=1.2, ls=DASHED, zorder=1)
    if low is not None and high is not None:
        axes.axhspan(low, high, color=BAND, lw=0, zorder=0)
        text = "human text: mean, 5th to 95th percentile"
        canvas.write(axes, first, high, text, offset=(6, -9), color=HUMAN)


def _lines(
    axes: Axes, rows: Sequence[tuple[str, Row]], key: str, colours: Mapping[str, str]
) -> None:
    """Draw a line for each sampler, with its name at the end."""
    ends: dict[str, Point] = {}
    for label, row in rows:
        places = (row[TEACHER_FORCED] or {}).get("by_position", [])
        line = [(place["position"] + 1, place[key]) for place in places if _number(place, key)]
        if line:
            axes.plot(*zip(*line, strict=True), color=colours[label], lw=1.3, zorder=3)
            ends[label] = line[-1]
    last = max((x for x, _ in ends.values()), default=2)
    axes.set_xlim(1, max(last, 2))
    canvas.name_lines(axes, list(ends.values()), list(ends))


def _number(place: Row, key: str) -> bool:
    return isinstance(place.get(key), int | float)


CHARTS = {
    "entropy-against-temperature": entropy_against_temperature,
    "quality-against-diversity": quality_against_diversity,
    "entropy-by-position": entropy_by_position,
    "mass-kept-by-position": mass_kept_by_position,
}
"""The plots of a report, by name."""
