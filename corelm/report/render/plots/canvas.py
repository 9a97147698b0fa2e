"""The parts that all plots share: colours, letters, empty axes, labels near their marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from corelm.report.render.plots.placement import NEAR, Box, pieces, place_labels, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

WIDTH, HEIGHT = 440.0, 330.0
"""The size of a plot in points: half a page, and readable on a telephone."""

LEFT, BOTTOM, TOP = 46.0, 46.0, 12.0
SMALL = 11.0
LINE = 14.0
"""The height of one line of small letters."""

INK, MUTED, FAINT, PAPER = "#1d2b2e", "#5b6b6e", "#dde4e4", "#ffffff"
TEAL, HUMAN, BAND = "#00796b", "#b3470b", "#f6e3d5"
LINES = ("#46578f", "#2f6f98", "#14808a", "#2f8b62", "#6f8726", "#93752b")
"""The colours of samplers, from the least to the greatest entropy."""

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
"""The name that the page has for each colour of a plot; in the dark it has another colour."""

STYLE: dict[Any, Any] = {
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
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | more)
        yield


def canvas(right: float, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return an empty picture and its axes, with room to the right of them, in points."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    size = (WIDTH - LEFT - right) / WIDTH, (height - BOTTOM - TOP) / height
    axes = figure.add_axes((LEFT / WIDTH, BOTTOM / height, *size))
    axes.grid(axis="y")
    return figure, axes


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


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def name_marks(axes: Axes, marks: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Write the name of each mark near it, clear of everything drawn and written already.

    A thin line leads to the mark from a name that had to move away.
    """
    frame = axes.get_window_extent()
    inside = Box(frame.x0 + 2, frame.y0 + 2, frame.x1 + 2, frame.y1 + 4)
    points = to_points(axes, marks)
    sizes = [size_of(_figure(axes), name) for name in names]
    places = place_labels(points, sizes, inside, _written(axes), _drawn(axes))
    for mark, point, name, box in zip(marks, points, names, places, strict=True):
        across, up = box.middle[0] - point[0], box.middle[1] - point[1]
        away = max(abs(across) - (box.right - box.left) / 2, abs(up) - LINE / 2)
        how: dict[str, Any] = {"arrowprops": TO_MARK} if away > NEAR else {}
        write(axes, *mark, name, offset=(across, up), ha="center", **how)


def _written(axes: Axes) -> list[Box]:
    return [Box(*text.get_window_extent().extents) for text in axes.texts]


def _drawn(axes: Axes) -> list[Box]:
    """The marks and the lines of a plot, as small rectangles."""
    boxes = []
    for line in axes.lines:
        points = line.get_transform().transform(line.get_xydata())
        boxes += pieces(points.tolist(), 8, thick=10 if len(points) == 1 else 3)
    return boxes


def name_lines(axes: Axes, ends: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Write the name of each line to the right of its end, and move it where two would overlap."""
    frame = axes.get_window_extent()
    points = to_points(axes, ends)
    heights = spread([y for _, y in points], LINE, frame.y0, frame.y1)
    for (x, y), at, height, name in zip(ends, points, heights, names, strict=True):
        offset = (frame.x1 + 14 - at[0], height - at[1])
        write(axes, x, y, name, offset=offset, ha="left", arrowprops=TO_LINE)
