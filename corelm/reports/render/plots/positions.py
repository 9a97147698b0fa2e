"""Entropy and mass kept by the position in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from corelm.reports.document.lookup import TEACHER_FORCED, value
from corelm.reports.render.plots import canvas
from corelm.reports.render.plots.canvas import BAND, HUMAN, INK, LINES, MUTED
from corelm.reports.render.plots.marks import DASHED, extent
from corelm.reports.render.plots.rows import ALL, Document, Point, Row, mass, name_of_rest, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND_NAME = "human text, 5\N{EN DASH}95%"


def entropy_by_position(document: Document) -> Figure:
    """Draw the mean entropy at each position, with the band of human text."""
    rows, people = named(document), document["reference"]
    human = value(people, "entropy.mean", TEACHER_FORCED)
    names = [*(label for label, _ in rows), BAND_NAME]
    drawing, axes = _positions(names)
    axes.set_ylabel("mean entropy (nats)")
    ends = _lines(axes, rows, "entropy", _colours(rows))
    if human is not None:
        axes.axhline(human, color=HUMAN, lw=1.2, ls=DASHED, zorder=1)
        ends[BAND_NAME] = axes.get_xlim()[1], human
    if axes.lines:
        axes.set_ylim(*canvas.padded(*extent(axes, 1)))
    low, high = (value(people, f"entropy.{name}", TEACHER_FORCED) for name in ("p05", "p95"))
    if low is not None and high is not None:
        bottom, top = axes.get_ylim()
        axes.axhspan(max(low, bottom), min(high, top), color=BAND, lw=0, zorder=0)
    _name(axes, ends)
    return drawing


def mass_kept_by_position(document: Document) -> Figure:
    """Draw the mean share of the model's probability that can still be drawn, by position."""
    rows = named(document)
    cut = [(label, row) for label, row in rows if (mass(row) or 1) < ALL]
    whole = [(label, row) for label, row in rows if (mass(row) or 0) >= ALL]
    # All lines at 1 are the same line, so one of them is drawn for all.
    rest = name_of_rest([label for label, _ in whole], others=bool(cut))
    one_of_them = [(rest, row) for _, row in whole[:1]]
    shown = cut + one_of_them
    drawing, axes = _positions([label for label, _ in shown])
    axes.set_ylabel("mass kept (share of the model's)")
    colours = _colours(rows) | {label: MUTED for label, _ in one_of_them}
    ends = _lines(axes, shown, "mass_kept", colours)
    if axes.lines:
        axes.set_ylim(*canvas.padded(extent(axes, 1)[0], 1))
    _name(axes, ends)
    return drawing


def _positions(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Empty axes over positions, with room on the right for the names of lines."""
    height = canvas.height_for(len(names))
    drawing, axes = canvas.canvas(right=canvas.NAMES + canvas.widest(names), height=height)
    axes.set_xlabel("position in the text (tokens)")
    return drawing, axes


def _colours(rows: Sequence[tuple[str, Row]]) -> dict[str, str]:
    """A colour for each sampler, in the order of their entropies."""
    rising = sorted(rows, key=lambda pair: value(pair[1], "entropy", TEACHER_FORCED) or 0)
    return {label: LINES[at * len(LINES) // len(rising)] for at, (label, _) in enumerate(rising)}


def _lines(
    axes: Axes, rows: Sequence[tuple[str, Row]], key: str, colours: Mapping[str, str]
) -> dict[str, Point]:
    """Draw a line for each sampler, and return the ends of these lines by label."""
    ends: dict[str, Point] = {}
    for label, row in rows:
        places = (row[TEACHER_FORCED] or {}).get("by_position", [])
        line = [(place["position"] + 1, place[key]) for place in places if _number(place, key)]
        if line:
            axes.plot(*zip(*line, strict=True), color=colours[label], lw=1.3, zorder=3)
            ends[label] = line[-1]
    last = max((x for x, _ in ends.values()), default=2)
    axes.set_xlim(1, max(last, 2))
    return ends


def _name(axes: Axes, ends: Mapping[str, Point]) -> None:
    colours = [HUMAN if name == BAND_NAME else INK for name in ends]
    canvas.name_lines(axes, list(ends.values()), list(ends), colours)


def _number(place: Row, key: str) -> bool:
    return isinstance(place.get(key), int | float)
