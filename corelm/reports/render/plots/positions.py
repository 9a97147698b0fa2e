"""Entropy and mass kept by the position in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corelm.reports.document.content import Document
from corelm.reports.document.figures import TEACHER_FORCED
from corelm.reports.document.lookup import value
from corelm.reports.render.plots import canvas, scales
from corelm.reports.render.plots.canvas import INK, LINES, MUTED, extent
from corelm.reports.render.plots.entries import ALL, Labelled, Point, mass, name_of_rest, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def entropy_by_position(document: Document, axes: Axes | None = None) -> Figure:
    """Draw the mean entropy at each position."""
    entries = named(document)
    drawing, axes = _positions([label for label, _ in entries], axes)
    axes.set_ylabel("mean entropy (nats)")
    ends = _lines(axes, entries, "entropy", _colours(entries))
    if axes.lines:
        axes.set_ylim(*scales.padded(*extent(axes, 1)))
    _name(axes, ends)
    return drawing


def mass_kept_by_position(document: Document) -> Figure:
    """Draw the mean share of the model's probability that can still be drawn, by position."""
    entries = named(document)
    cut = [(label, entry) for label, entry in entries if (mass(entry) or 1) < ALL]
    whole = [(label, entry) for label, entry in entries if (mass(entry) or 0) >= ALL]
    # All lines at 1 are the same line, so one of them is drawn for all.
    rest = name_of_rest([label for label, _ in whole], others=bool(cut))
    one_of_them = [(rest, entry) for _, entry in whole[:1]]
    shown = cut + one_of_them
    drawing, axes = _positions([label for label, _ in shown])
    axes.set_ylabel("mass kept (share of the model's)")
    colours = _colours(entries) | {label: MUTED for label, _ in one_of_them}
    ends = _lines(axes, shown, "mass_kept", colours)
    if axes.lines:
        axes.set_ylim(scales.padded(extent(axes, 1)[0], 1)[0], 1)
    _name(axes, ends)
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
    """Empty axes over positions, with room on the right for the names of lines."""
    height, right = canvas.height_for(len(names)), canvas.NAMES + canvas.widest(names)
    drawing, axes = canvas.canvas(right, height, axes)
    axes.set_xlabel("position in the text (tokens)")
    return drawing, axes


def _colours(entries: Sequence[Labelled]) -> dict[str, str]:
    """Return a colour for each sampler, in the order of their entropies."""
    rising = sorted(entries, key=lambda pair: value(pair[1], "entropy", TEACHER_FORCED) or 0)
    return {label: LINES[at * len(LINES) // len(rising)] for at, (label, _) in enumerate(rising)}


def _lines(
    axes: Axes, entries: Sequence[Labelled], key: str, colours: Mapping[str, str]
) -> dict[str, Point]:
    """Draw a line for each sampler, and return the ends of these lines by label."""
    ends: dict[str, Point] = {}
    for label, entry in entries:
        places = entry.teacher_forced.by_position if entry.teacher_forced else []
        line = [(place["position"] + 1, place[key]) for place in places if _number(place, key)]
        if line:
            axes.plot(
                *zip(*line, strict=True), color=colours[label], lw=1.3, zorder=3, clip_on=False
            )
            ends[label] = line[-1]
    last = max((x for x, _ in ends.values()), default=2)
    axes.set_xlim(1, max(last, 2))
    return ends


def _name(axes: Axes, ends: Mapping[str, Point]) -> None:
    canvas.name_lines(axes, list(ends.values()), list(ends), [INK] * len(ends))


def _number(place: Mapping[str, Any], key: str) -> bool:
    return isinstance(place.get(key), int | float)
