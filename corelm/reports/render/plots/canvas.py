"""The parts that all plots share: colours, letters, empty axes, labels near their marks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corelm.reports.render.plots.placement import (
    NEAR,
    Box,
    clear,
    pieces,
    place_labels,
    shared,
    spread,
)
from corelm.reports.render.plots.scales import shorten_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

WIDTH, HEIGHT = 440.0, 330.0
"""The size of a plot in points: half a page, and readable on a telephone."""
COLUMN = 238.0
"""The width of a plot in a paper's column in points: 3.3 inches."""
SHRUNK = 0.68
"""The share of their size that letters and marks have in a column: letters have 7.5 points."""

LEFT, BOTTOM, TOP, RIGHT = 54.0, 46.0, 12.0, 16.0
GAP = 20.0
"""The room between two axes of one picture, in points."""
BACKEND = "MPLBACKEND"
SMALL = 11.0
LINE = 14.0
"""The height of one line of small letters."""
ABOVE, BELOW = 8.0, -9.0
"""The distances of a name from the line under it or over it, in points."""
MANY = 14
"""Names that may be next to their marks, at most."""
STEPS = 8
"""The places along a line where its name may be, less one."""
NAMES = 22.0
"""The room between a plot and the names to the right of it, and behind these, in points."""

INK, MUTED, FAINT, PAPER = "#1d2b2e", "#5b6b6e", "#dde4e4", "#ffffff"
TEAL, HUMAN, BAND = "#00796b", "#b3470b", "#f6e3d5"
LINES = ("#46578f", "#2f6f98", "#14808a", "#2f8b62", "#6f8726", "#93752b")
"""The colours of samplers, from the least to the greatest entropy."""

MARK: dict[str, Any] = {"ms": 7, "mec": PAPER, "mew": 1.2}
DASHED, DOTTED = (0, (4, 2)), (0, (1, 2))
TICKS: dict[str, Any] = {"labelsize": SMALL, "pad": 3.5, "width": 0.8, "grid_linewidth": 0.8}
"""The sizes of ticks and their labels, in points."""
LEADER: dict[str, Any] = {"arrowstyle": "-", "color": MUTED, "lw": 0.6, "shrinkA": 1}
TO_MARK = LEADER | {"shrinkB": 4}
TO_LINE = LEADER | {"shrinkB": 1, "relpos": (0, 0.5)}

COLOURS = {
    INK: "ink",
    MUTED: "muted",
    FAINT: "faint",
    PAPER: "paper",
    TEAL: "teal",
    HUMAN: "human",
    BAND: "band",
    **{colour: f"line-{number}" for number, colour in enumerate(LINES)},
}
"""The name that the page has for each colour of a plot; dark mode maps it to a different one."""

STYLE: dict[Any, Any] = {
    "figure.figsize": (WIDTH / 72, HEIGHT / 72),
    "font.family": ["DejaVu Sans"],
    "font.size": SMALL,
    "axes.labelsize": SMALL,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "text.parse_math": False,  # the name of a sampler is not a formula
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "svg.hashsalt": "corelm",
}


@contextmanager
def style(**more: Any) -> Iterator[None]:
    """Draw with the settings of reports instead of the user's settings of matplotlib."""
    matplotlib = import_matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | more)
        yield


def import_matplotlib() -> ModuleType:
    """Import matplotlib, whatever backend the environment names: plots are drawn into files.

    A notebook passes its own backend on to the commands that it runs, and the import would fail
    where they don't have it.
    """
    backend = os.environ.pop(BACKEND, None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ[BACKEND] = backend
    return matplotlib


def width() -> float:
    """Return the width of a picture in points, a setting of `style`."""
    import matplotlib

    return float(matplotlib.rcParams["figure.figsize"][0]) * 72


def canvas(right: float, height: float = HEIGHT, axes: Axes | None = None) -> tuple[Figure, Axes]:
    """Return an empty picture and its axes, with room to the right of them, in points.

    Axes that are given stay in their figure, whose units must be points, as in `in_points`.
    """
    if axes is None:
        axes = empty(height).add_axes(_area(right, height))
    else:
        _narrow(axes, max(right - RIGHT, 0))
    axes.grid(axis="y", color=FAINT)
    shorten_ticks(axes)
    return figure_of(axes), axes


@contextmanager
def in_points(figure: Figure) -> Iterator[None]:
    """Draw in a figure whose units are points for now, as labels are placed in."""
    dots = figure.dpi
    figure.set_dpi(72)
    try:
        yield
    finally:
        figure.set_dpi(dots)


def _narrow(axes: Axes, by: float) -> None:
    """Take room from the right of axes, in points."""
    box = axes.get_position()
    share = by / (figure_of(axes).get_figwidth() * 72)
    axes.set_position((box.x0, box.y0, max(box.width - share, box.width / 4), box.height))


def empty(height: float, wide: float | None = None) -> Figure:
    """Return a picture of this size in points, without axes."""
    from corelm.reports.render.plots.picture import Picture

    return Picture(figsize=((wide or width()) / 72, height / 72), dpi=72)


def panels(
    figure: Figure, left: float, top: float, across: int, up: int, between: float = GAP
) -> list[list[Axes]]:
    """Divide a picture into rows of equal axes; the axes of a row share heights.

    Args:
        figure: the picture.
        left, top: the room around all of them, in points; that below is `BOTTOM`.
        across: the number of axes in a row.
        up: the number of rows.
        between: the room between two rows, in points.
    """
    height = figure.get_figheight() * 72
    whole, wide = width(), panel_width(left, across)
    high = (height - top - BOTTOM - between * (up - 1)) / up
    rows: list[list[Axes]] = []
    for row in range(up):
        bottom = BOTTOM + (up - 1 - row) * (high + between)
        rows.append([])
        for column in range(across):
            place = (left + column * (wide + GAP)) / whole, bottom / height
            shared = rows[row][0] if column else None
            axes = figure.add_axes((*place, wide / whole, high / height), sharey=shared)
            axes.tick_params(labelleft=column == 0)
            shorten_ticks(axes)
            rows[row].append(axes)
    return rows


def panel_width(left: float, across: int) -> float:
    """Return the width of one of some panels next to each other, in points."""
    return (width() - left - RIGHT - GAP * (across - 1)) / across


def _area(right: float, height: float) -> tuple[float, float, float, float]:
    whole = width()
    size = (whole - LEFT - right) / whole, (height - BOTTOM - TOP) / height
    return LEFT / whole, BOTTOM / height, *size


def extent(axes: Axes, axis: int) -> tuple[float, float]:
    """Return the range of all lines and marks, from left to right (0) or from top to bottom (1)."""
    drawn = np.concatenate([np.asarray(line.get_xydata())[:, axis] for line in axes.lines])
    return float(drawn.min()), float(drawn.max())


def write(axes: Axes, x: float, y: float, text: str, **how: Any) -> Text:
    """Write text at a point of the data, moved by `offset` points."""
    offset = how.pop("offset", (0, 0))
    options: dict[str, Any] = {"fontsize": SMALL, "va": "center"} | how
    return axes.annotate(text, (x, y), offset, textcoords="offset points", **options)


def size_of(figure: Figure, text: str) -> tuple[float, float]:
    """Return the width and the height of a small label, in points."""
    written = figure.text(0, 0, text, fontsize=SMALL)
    box = written.get_window_extent()
    written.remove()
    return box.width, LINE


def widest(texts: Sequence[str]) -> float:
    """Return the width of the widest small label, in points."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=72)
    return max((size_of(figure, text)[0] for text in texts), default=0.0)


def to_points(axes: Axes, places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Convert places in the data to places in the picture, in points."""
    return [tuple(axes.transData.transform(place)) for place in places]


def figure_of(axes: Axes) -> Figure:
    """Return the figure of axes."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def name_marks(
    axes: Axes, marks: Sequence[tuple[float, float]], names: Sequence[str], fixed: bool = False
) -> bool:
    """Write the name of each mark near it, clear of everything drawn and written already.

    A thin line leads to the mark from a name that had to move away. If one name has no such place,
    or if there are many, all of them go to a column to the right of the plot, for which the
    picture grows unless its size is `fixed`.

    Returns:
        True if the names are near their marks.
    """
    if len(names) > MANY:
        _name_in_margin(axes, marks, names, fixed)
        return False
    frame = axes.get_window_extent()
    inside = Box(frame.x0 + 2, frame.y0 + 2, frame.x1 + 2, frame.y1 + 4)
    points = to_points(axes, marks)
    sizes = [size_of(figure_of(axes), name) for name in names]
    written, drawn = _written(axes), _drawn(axes)
    places = place_labels(points, sizes, inside, written, drawn)
    if not clear([_letters(box) for box in places], inside, [*written, *drawn]):
        _name_in_margin(axes, marks, names, fixed)
        return False
    for mark, point, name, box in zip(marks, points, names, places, strict=True):
        across, up = box.middle[0] - point[0], box.middle[1] - point[1]
        away = max(abs(across) - (box.right - box.left) / 2, abs(up) - LINE / 2)
        how: dict[str, Any] = {"arrowprops": TO_MARK} if away > NEAR else {}
        write(axes, *mark, name, offset=(across, up), ha="center", **how)
    return True


def _name_in_margin(
    axes: Axes, marks: Sequence[tuple[float, float]], names: Sequence[str], fixed: bool
) -> None:
    """Write the names to the right of a plot, which gets narrower, and higher for many names."""
    figure, height, room = figure_of(axes), height_for(len(names)), NAMES + widest(names)
    if fixed:
        _narrow(axes, room)
    else:
        figure.set_size_inches(width() / 72, height / 72)
        axes.set_position(_area(room, height))
    name_lines(axes, marks, names)


def height_for(names: int) -> float:
    """Return the height of a picture with this number of names in a column, in points."""
    return max(HEIGHT, LINE * (names + 6))


class Place(NamedTuple):
    """A name, its left end as a point of the data, and how far it is moved, in points."""

    name: str
    at: tuple[float, float]
    offset: tuple[float, float]


def along_level(axes: Axes, level: float, name: str) -> list[Place]:
    """Return the places for the name of a horizontal line: above it and below it, left to right."""
    room = max(axes.get_window_extent().width - size_of(figure_of(axes), name)[0] - 10, 0)
    at = axes.get_xlim()[0], level
    across = [6 + room * step / STEPS for step in range(STEPS + 1)]
    return [Place(name, at, (x, up)) for x in across for up in (ABOVE, BELOW)]


def write_clear(axes: Axes, places: Sequence[Place], color: str) -> Place:
    """Write a name at the first place where it covers nothing, or else where it covers least.

    Do it after everything else is drawn and written.
    """
    sizes = {place.name: size_of(figure_of(axes), place.name) for place in places}
    points = to_points(axes, [place.at for place in places])
    boxes = []
    for (x, y), place in zip(points, places, strict=True):
        width, height = sizes[place.name]
        middle = x + place.offset[0] + width / 2, y + place.offset[1]
        boxes.append(_letters(Box.around(*middle, width, height)))
    covered = shared(boxes, [*_written(axes), *_drawn(axes), *leaders(axes)])
    chosen = places[int(covered.argmin())]
    write(axes, *chosen.at, chosen.name, offset=chosen.offset, color=color)
    return chosen


def _letters(box: Box) -> Box:
    """Return the part of a label that its letters fill."""
    return Box(box.left, box.bottom + 2, box.right, box.top - 2)


def _written(axes: Axes) -> list[Box]:
    """Return the texts of a plot as rectangles, without the lines to their marks."""
    from matplotlib.text import Text

    for text in axes.texts:
        text.get_window_extent()  # puts it where it belongs
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


def name_lines(
    axes: Axes,
    ends: Sequence[tuple[float, float]],
    names: Sequence[str],
    colours: Sequence[str] = (),
) -> None:
    """Write the name of each line to the right of its end, and move it where two would overlap."""
    frame = axes.get_window_extent()
    points = to_points(axes, ends)
    heights = spread([y for _, y in points], LINE, frame.y0, frame.y1)
    inks = colours or [INK] * len(names)
    for (x, y), at, height, name, ink in zip(ends, points, heights, names, inks, strict=True):
        offset = (frame.x1 + 14 - at[0], height - at[1])
        write(axes, x, y, name, offset=offset, ha="left", arrowprops=TO_LINE, color=ink)
