"""Load matplotlib; colours, fonts, blank axes, ticks and files shared by all plots."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from corelm_pages.formats import MINUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text


WIDTH, HEIGHT = 440.0, 330.0
"""The size of a plot in points: half a page, and readable on a telephone."""
COLUMN = 238.0
"""The width of a plot in a paper's column in points: 3.3 inches."""
SHRUNK = 0.68
"""The scale of letters and marks in a paper's column, where letters have 7.5 points."""

LEFT, BOTTOM, TOP, RIGHT = 54.0, 46.0, 12.0, 16.0
GAP = 20.0
"""The room between two axes of one picture, in points."""
BACKEND = "MPLBACKEND"
DOTS_PER_INCH = 120
"""The resolution of a picture in a notebook."""
SMALL = 11.0
LINE = 14.0
"""The height of one line of small letters."""

INK, MUTED, FAINT, PAPER = "#1d2b2e", "#5b6b6e", "#dde4e4", "#ffffff"
TEAL, HUMAN, BAND = "#00796b", "#b3470b", "#f6e3d5"
LINES = ("#46578f", "#2f6f98", "#14808a", "#2f8b62", "#6f8726", "#93752b")
"""The colours of samplers, from the least to the greatest entropy."""

MARK: dict[str, Any] = {"ms": 7, "mec": PAPER, "mew": 1.2}
DASHED, DOTTED = (0, (4, 2)), (0, (1, 2))
TICKS: dict[str, Any] = {"labelsize": SMALL, "pad": 3.5, "width": 0.8, "grid_linewidth": 0.8}
"""The sizes of ticks and their labels, in points."""

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
"""The page's name for each colour of a plot; dark mode maps it to another colour."""

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
    """Import matplotlib without the environment's backend, as plots are drawn into files.

    A notebook passes its backend to the commands that it runs, and the import would fail without
    it.
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
        axes = empty(height).add_axes(area(right, height))
    else:
        narrow(axes, max(right - RIGHT, 0))
    axes.grid(axis="y", color=FAINT)
    shorten_ticks(axes)
    return figure_of(axes), axes


@contextmanager
def in_points(figure: Figure) -> Iterator[None]:
    """Make points the units of a figure inside the block, as the placement of labels needs."""
    dots = figure.dpi
    figure.set_dpi(72)
    try:
        yield
    finally:
        figure.set_dpi(dots)


def narrow(axes: Axes, by: float) -> None:
    """Shrink axes on the right, by an amount in points."""
    box = axes.get_position()
    share = by / (figure_of(axes).get_figwidth() * 72)
    axes.set_position((box.x0, box.y0, max(box.width - share, box.width / 4), box.height))


def empty(height: float, wide: float | None = None) -> Figure:
    """Return an empty picture of this size in points."""
    return _picture_class()(figsize=((wide or width()) / 72, height / 72), dpi=72)


@cache
def _picture_class() -> type[Figure]:
    """Return a class of figures that a notebook shows, whether or not pyplot was imported.

    Made late, as matplotlib is imported only to draw.
    """
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure without a window, which a notebook displays as an image."""

        def _repr_png_(self) -> bytes:
            return image(self, "png", dpi=DOTS_PER_INCH)

    return Picture


def panels(
    figure: Figure, left: float, top: float, across: int, up: int, between: float = GAP
) -> list[list[Axes]]:
    """Divide a picture into rows of equal axes; the axes of a row share heights.

    Args:
        figure: the picture.
        left, top: the margins in points; the margin below is `BOTTOM`.
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
    """Return the width in points of each of `across` side-by-side panels."""
    return (width() - left - RIGHT - GAP * (across - 1)) / across


def area(right: float, height: float) -> tuple[float, float, float, float]:
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


def text_widths(texts: Sequence[str]) -> list[float]:
    """Return the widths of small labels, in points."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=72)
    written = [figure.text(0, 0, text, fontsize=SMALL) for text in texts]
    return [each.get_window_extent().width for each in written]


def widest(texts: Sequence[str]) -> float:
    """Return the width of the widest small label, in points."""
    return max(text_widths(texts), default=0.0)


def to_points(axes: Axes, places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Convert places in the data to places in the picture, in points."""
    return [tuple(axes.transData.transform(place)) for place in places]


def figure_of(axes: Axes) -> Figure:
    """Return the figure of axes."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """Return the ends of an axis that shows a range with padding on both sides.

    Example:
        >>> padded(1.0, 2.0, 0.5), padded(0.0, 0.0)
        ((0.5, 2.5), (-0.06, 0.06))
    """
    size = max(abs(low), abs(high), 1)
    span = high - low if high - low > 1e-6 * size else size
    return low - share * span, high + share * span


def within(least: float, most: float, ends: tuple[float, float]) -> tuple[float, float]:
    """Clip the ends of an axis to the possible values.

    Example:
        >>> within(0, 1, (0.5, 1.03)), within(0, 1, (2.0, 3.0))
        ((0.5, 1), (2.0, 3.0))
    """
    low, high = max(ends[0], least), min(ends[1], most)
    return (low, high) if low < high else ends


def shorten_ticks(axes: Axes) -> None:
    """Format the ticks of both axes with the fewest digits: 0, 0.5, 1."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: tick(value))


def tick(value: float) -> str:
    """Return the text of a tick.

    Example:
        >>> tick(-0.50), tick(3 * 0.1), tick(1500.0)
        ('\N{MINUS SIGN}0.5', '0.3', '1500')
    """
    return f"{value:.6g}".replace("-", MINUS)


def image(figure: Figure, form: str, **how: Any) -> bytes:
    """Render a figure as a file in one of matplotlib's formats."""
    written = io.BytesIO()
    figure.savefig(written, format=form, **how)
    return written.getvalue()


def shrink(figure: Figure, share: float) -> None:
    """Scale down a finished picture with its letters, lines, marks and distances."""
    parts: list[Any] = [*figure.texts, *figure.lines, *figure.artists]
    for axes in figure.axes:
        parts += [*axes.texts, *axes.lines, *axes.spines.values()]
        for axis in (axes.xaxis, axes.yaxis):
            parts.append(axis.label)
            axis.labelpad *= share
            # matplotlib makes new ticks for the new size.
            axis.set_tick_params(**{name: share * points for name, points in TICKS.items()})
    for part in parts:
        for name in ("fontsize", "markersize", "markeredgewidth", "linewidth"):
            if hasattr(part, f"set_{name}"):
                getattr(part, f"set_{name}")(share * getattr(part, f"get_{name}")())
        if hasattr(part, "xyann"):
            part.xyann = tuple(share * points for points in part.xyann)
    wide, high = figure.get_size_inches()
    figure.set_size_inches(wide * share, high * share)


def element(name: str, svg: str) -> str:
    """Turn a drawing of matplotlib into an element of a page.

    Invisible parts are removed. Colours become variables of the page, which dark mode changes;
    letters use the page's font; ids get the plot's name, so that they are unique.

    Example:
        >>> element("a", '<svg viewBox="0 0 9 9">\\n<g id="g1" fill="#00796b"/></svg>')
        '<svg viewBox="0 0 9 9" aria-hidden="true"><g fill="var(--teal)"/></svg>'
    """
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    # Hundredths of a point are fine enough to see, at half the bytes.
    svg = re.sub(r' (d|x|y)="[^"]*"', lambda number: re.sub(r"(\.\d\d)\d+", r"\1", number[0]), svg)
    opening, inside = svg[svg.index("<svg") :].split(">", 1)
    size = re.search(r'viewBox="[^"]*"', opening)
    used = set(REFERENCE.findall(inside))
    inside = re.sub("<[^>]*>", lambda tag: _tag(tag[0], name, used), inside)
    inside = re.sub(r">\s*\n\s*<", "><", inside).strip()
    return f'<svg {size and size[0]} aria-hidden="true">{inside}'


REFERENCE = re.compile(r'(?:href="|url\()#([\w-]+)')
COLOUR = re.compile("#[0-9a-f]{6}")


def _tag(tag: str, name: str, used: set[str]) -> str:
    """Rewrite one tag of a drawing for the page."""
    tag = COLOUR.sub(lambda colour: f"var(--{COLOURS[colour[0]]})", tag)
    tag = re.sub(r' id="([^"]*)"', lambda at: f' id="{name}-{at[1]}"' if at[1] in used else "", tag)
    tag = REFERENCE.sub(lambda at: at[0].replace("#", f"#{name}-"), tag)
    tag = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)
    tag = re.sub(r"font-family: [^;\"]*;?", "", tag)
    return re.sub(r"\s*\n\s*", " ", re.sub("(?<=[:;]) ", "", tag)).replace(' "', '"')
