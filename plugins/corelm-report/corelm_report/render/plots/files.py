"""The plots of a report as files, and as drawings inside its page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from corelm_report.document.content import Document
from corelm_report.document.parts import Json
from corelm_report.render.plots.canvas import COLOURS, COLUMN, HEIGHT, SHRUNK, TICKS, WIDTH, style
from corelm_report.render.plots.charts import charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 216
LARGEST = 1e9
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
NO_METADATA_OF_PDF = {"CreationDate": None, "Creator": None, "Producer": None}
"""The PDF metadata to leave out, so that the same report gives the same bytes on any day."""


def plots(document: Document) -> dict[str, bytes]:
    """Draw the plots of a report as files: as PNG, as SVG, and as PDF for a paper's column.

    The bytes depend only on the report and on the version of matplotlib.

    Args:
        document: the content of a report.

    Returns:
        The content of each file by its name.
    """
    files: dict[str, bytes] = {}
    for name, figure in _drawn(document, letters="path"):
        files[f"{name}.png"] = image(figure, "png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        files[f"{name}.svg"] = image(figure, "svg", metadata=NO_METADATA)
    for name, figure in _drawn(document, letters="path", width=COLUMN / SHRUNK):
        shrink(figure, SHRUNK)
        files[f"{name}.pdf"] = image(figure, "pdf", metadata=NO_METADATA_OF_PDF)
    return files


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


def drawings(document: Document) -> dict[str, str]:
    """Draw the plots of a report as SVG elements that take their colours from the page.

    Args:
        document: the content of a report.

    Returns:
        The element of each plot by its name.
    """
    return {
        name: element(name, image(figure, "svg", metadata=NO_METADATA).decode("utf-8"))
        for name, figure in _drawn(document, letters="none")
    }


def _drawn(document: Document, letters: str, width: float = WIDTH) -> Iterator[tuple[str, Figure]]:
    """Yield one plot at a time; save each before taking the next one."""
    how = {"svg.fonttype": letters, "pdf.fonttype": 42, "figure.figsize": (width / 72, HEIGHT / 72)}
    with warnings.catch_warnings(), style(**how):
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figures = drawable(document)
        for chart in charts(figures):
            yield chart.name, chart.draw(figures)


def drawable(document: Document) -> Document:
    """Return a report without its texts, and with numbers that matplotlib can draw."""
    return Document.from_dict(_bounded(_without_texts(document)))


def _without_texts(document: Document) -> Json:
    """Return the document without its largest parts, which no plot shows."""
    entries = [replace(entry, texts=[]) for entry in document.samplers]
    return replace(document, samplers=entries, try_it=None).to_dict()


def _bounded(part: Any) -> Any:
    """Copy a part of a document, with all numbers clipped to the range that matplotlib can draw."""
    if isinstance(part, Mapping):
        return {name: _bounded(inner) for name, inner in part.items()}
    if isinstance(part, list):
        return [_bounded(inner) for inner in part]
    return min(max(part, -LARGEST), LARGEST) if isinstance(part, float) else part


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
    svg = re.sub(r' (d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
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
