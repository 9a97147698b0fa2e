"""The samplers of a report as its plots show them: their labels, sweeps, intervals and places.

The names of marks and lines are written where they cover nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from corelm.runs import printable
from corelm_pages.canvas import (
    HEIGHT,
    INK,
    LINE,
    MUTED,
    area,
    figure_of,
    narrow,
    text_widths,
    to_points,
    widest,
    width,
    write,
)
from corelm_pages.formats import visible
from corelm_pages.placement import NEAR, Box, clear, pieces, place_labels, shared, spread
from corelm_report.document.content import Document, Entry, SamplerEntry
from corelm_report.document.figures import TEACHER_FORCED
from corelm_report.document.lookup import estimate, value
from corelm_report.document.parts import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Point = tuple[float, float]
Labelled = tuple[str, SamplerEntry]

ALL = 0.9995
"""A sampler that keeps at least this mass counts as keeping all of it."""
LONGEST = 24
"""The length of a label in characters; the table of the report has the whole expression."""

_ONE_PARAMETER = re.compile(r"(\w+)\((\w+)=([^()\[\]{},='\"|]*)\)")


@dataclass(frozen=True)
class Sweep:
    """The settings of a sweep of one parameter that were measured.

    Attributes:
        label: its expression, shortened.
        parameter: the name of the parameter that varies.
        entries: the label and the entry of each setting, in the order of their values.
        values: the values of the parameter.
    """

    label: str
    parameter: str
    entries: Sequence[Labelled]
    values: Sequence[float]


def named(document: Document) -> list[Labelled]:
    """Return the samplers that did not fail, each with its label."""
    pairs = zip(labels(document.samplers), document.samplers, strict=True)
    return [(label, entry) for label, entry in pairs if not entry.error]


def sweeps(document: Document) -> list[Sweep]:
    """Return the sweeps with at least two settings that did not fail."""
    members: dict[str, list[Labelled]] = {}
    for label, entry in named(document):
        if entry.sweep:
            members.setdefault(entry.sweep, []).append((label, entry))
    return [sweep for text, some in members.items() if (sweep := _sweep(text, some))]


def _sweep(expression: str, entries: Sequence[Labelled]) -> Sweep | None:
    """Return the entries as a sweep; None unless they differ in exactly one number."""
    numbers = [_numbers(entry) for _, entry in entries]
    differing = [key for key in numbers[0] if len({each.get(key) for each in numbers}) > 1]
    if len(differing) != 1 or not all(differing[0] in each for each in numbers):
        return None
    values = [each[differing[0]] for each in numbers]
    order = sorted(range(len(entries)), key=values.__getitem__)
    return Sweep(
        shortened(expression),
        differing[0][1],
        [entries[i] for i in order],
        [values[i] for i in order],
    )


def _numbers(entry: SamplerEntry) -> dict[tuple[int, str], float]:
    """Return the numeric parameters by the index of their stage and their name."""
    return {
        (place, name): value
        for place, stage in enumerate(entry.stages)
        for name, value in stage.params.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def ends_of_sweeps(document: Document, names: Iterable[str]) -> list[str]:
    """Return the names to show in a plot: of each sweep only the first and the last setting."""
    hidden = {label for sweep in sweeps(document) for label, _ in sweep.entries[1:-1]}
    return [name for name in names if name not in hidden]


def ends_of(entry: Entry, figure: str, view: str) -> Interval | None:
    """Return the 95 % interval of a figure, or None if it has none."""
    measured = estimate(entry, figure, view)
    return measured.interval if measured else None


def name_of_rest(rest: Sequence[str], others: bool) -> str:
    """Return the name of a line or a mark that several samplers share.

    Args:
        rest: the labels of the samplers that share it.
        others: True if other samplers have lines or marks of their own.
    """
    if len(rest) == 1:
        return rest[0]
    return "all others" if others else "all samplers"


def mass(entry: Entry) -> float | None:
    """Return the mean mass that a sampler keeps, if it was measured."""
    return value(entry, "mass_kept", TEACHER_FORCED)


def shortened(expression: str, temperatures: Collection[str] = ()) -> str:
    """Shorten an expression to a label.

    A sampler with one parameter is written without parentheses, a temperature without its name: `t
    = 0.7`. A long expression is written without parameter names.

    Args:
        expression: a sampler or a chain.
        temperatures: the names of the samplers in it that are temperatures.

    Example:
        >>> shortened("top_p(p=0.9) | temperature(t=0.7)", ["temperature"])
        'top_p 0.9 | t = 0.7'
        >>> shortened("typical(p=0.9) | repetition_penalty(penalty=1.2)")
        'typical 0.9 | repetitio…'
        >>> shortened("beam(width=4, length_penalty=1.0)")
        'beam(4, 1.0)'
    """

    def short(match: re.Match[str]) -> str:
        name, parameter, value = match.groups()
        return f"{parameter} = {value}" if name in temperatures else f"{name} {value}"

    text = _ONE_PARAMETER.sub(short, printable.one_line(visible(expression)))
    if len(text) > LONGEST:
        text = re.sub(r"\b\w+=(?=[\d.-]+[,)])", "", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def labels(entries: Sequence[SamplerEntry]) -> list[str]:
    """Return a label for each sampler of a report; equal labels are numbered.

    Example:
        >>> labels([SamplerEntry(sampler=text) for text in ("greedy", "top_k(k=5)", "greedy")])
        ['greedy (1)', 'top_k 5', 'greedy (3)']
    """
    # Stages may declare themselves as temperatures.
    kinds = [{each.name for each in e.stages if each.kind == "temperature"} for e in entries]
    short = [shortened(e.sampler, kind) for e, kind in zip(entries, kinds, strict=True)]
    count = Counter(short)
    return [
        f"{text} ({number})" if count[text] > 1 else text for number, text in enumerate(short, 1)
    ]


ABOVE, BELOW = 8.0, -9.0
"""The distances of a name from the line under it or over it, in points."""
MANY = 14
"""The most names next to their marks."""
STEPS = 8
"""The number of steps along a line between places for its name."""
NAMES = 22.0
"""The room before and after the names to the right of a plot, in points."""

LEADER: dict[str, Any] = {"arrowstyle": "-", "color": MUTED, "lw": 0.6, "shrinkA": 1}
TO_MARK = LEADER | {"shrinkB": 4}
TO_LINE = LEADER | {"shrinkB": 1, "relpos": (0, 0.5)}


def name_marks(
    axes: Axes, marks: Sequence[tuple[float, float]], names: Sequence[str], fixed: bool = False
) -> None:
    """Write the name of each mark near it, clear of everything drawn and written already.

    A thin line leads to the mark from a name that had to move away. If a name has no such place, or
    if there are many names, all names go into a column to the right of the plot, for which the
    picture grows unless its size is `fixed`.
    """
    figure, frame, points = figure_of(axes), axes.get_window_extent(), to_points(axes, marks)
    if len(names) <= MANY:
        inside = Box(frame.x0 + 2, frame.y0 + 2, frame.x1 + 2, frame.y1 + 4)
        written, drawn = _written(axes), _drawn(axes)
        # A browser's letters may be wider.
        sizes = [(wide + 3, LINE) for wide in text_widths(names)]
        places = place_labels(points, sizes, inside, written, drawn)
        if clear([_letters(box) for box in places], inside, [*written, *drawn]):
            for mark, point, name, box in zip(marks, points, names, places, strict=True):
                across, up = box.middle[0] - point[0], box.middle[1] - point[1]
                away = max(abs(across) - (box.right - box.left) / 2, abs(up) - LINE / 2)
                how: dict[str, Any] = {"arrowprops": TO_MARK} if away > NEAR else {}
                write(axes, *mark, name, offset=(across, up), ha="center", **how)
            return
    height, room = height_for(len(names)), NAMES + widest(names)
    if fixed:
        narrow(axes, room)
    else:
        figure.set_size_inches(width() / 72, height / 72)
        axes.set_position(area(room, height))
    name_lines(axes, marks, names)


def height_for(names: int) -> float:
    """Return the height of a picture with this number of names in a column, in points."""
    return max(HEIGHT, LINE * (names + 6))


class NamePlace(NamedTuple):
    """A name, its left end in data coordinates, and its offset in points."""

    name: str
    at: tuple[float, float]
    offset: tuple[float, float]


def along_level(axes: Axes, level: float, name: str) -> list[NamePlace]:
    """Return places for a horizontal line's name: above and below the line, left to right."""
    room = max(axes.get_window_extent().width - widest([name]) - 10, 0)
    at = axes.get_xlim()[0], level
    across = [6 + room * step / STEPS for step in range(STEPS + 1)]
    return [NamePlace(name, at, (x, up)) for x in across for up in (ABOVE, BELOW)]


def write_clear(axes: Axes, places: Sequence[NamePlace], color: str) -> NamePlace:
    """Write a name at the first place where it covers nothing, or where it covers the least.

    Call it after everything else is drawn and written.
    """
    names = list(dict.fromkeys(place.name for place in places))
    widths = dict(zip(names, text_widths(names), strict=True))
    points = to_points(axes, [place.at for place in places])
    boxes = []
    for (x, y), place in zip(points, places, strict=True):
        middle = x + place.offset[0] + widths[place.name] / 2, y + place.offset[1]
        boxes.append(_letters(Box.around(*middle, widths[place.name], LINE)))
    covered = shared(boxes, [*_written(axes), *_drawn(axes), *leaders(axes)])
    chosen = places[int(covered.argmin())]
    write(axes, *chosen.at, chosen.name, offset=chosen.offset, color=color)
    return chosen


def _letters(box: Box) -> Box:
    """Return the part of a label's box that its letters fill."""
    return Box(box.left, box.bottom + 2, box.right, box.top - 2)


def _written(axes: Axes) -> list[Box]:
    """Return the texts of a plot as rectangles, without the lines to their marks."""
    from matplotlib.text import Text

    for text in axes.texts:
        text.get_window_extent()  # updates its position
    return [Box(*Text.get_window_extent(text).extents) for text in axes.texts]


def leaders(axes: Axes) -> list[Box]:
    """Return the lines from texts to their marks, as small rectangles."""
    from matplotlib.text import Annotation

    ends = zip(_written(axes), axes.texts, strict=True)
    named = [
        (box, text.xy)
        for box, text in ends
        if isinstance(text, Annotation) and text.arrow_patch is not None
    ]
    marks = to_points(axes, [xy for _, xy in named])
    lines = zip(named, marks, strict=True)
    return [piece for (box, _), mark in lines for piece in pieces([box.middle, mark], 8, 1)]


def _drawn(axes: Axes) -> list[Box]:
    """Return the marks and the lines of a plot, as small rectangles."""
    boxes = []
    for line in axes.lines:
        points = line.get_transform().transform(line.get_xydata())
        boxes += pieces(points.tolist(), 8, thick=10 if len(points) == 1 else 3)
    return boxes


def name_lines(axes: Axes, ends: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Write each line's name to the right of its end; move names that would overlap."""
    frame = axes.get_window_extent()
    points = to_points(axes, ends)
    heights = spread([y for _, y in points], LINE, frame.y0, frame.y1)
    for (x, y), at, height, name in zip(ends, points, heights, names, strict=True):
        offset = (frame.x1 + 14 - at[0], height - at[1])
        write(axes, x, y, name, offset=offset, ha="left", arrowprops=TO_LINE, color=INK)
