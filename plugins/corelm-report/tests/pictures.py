"""The charts of a report as axes of matplotlib, and what is drawn in them."""

from __future__ import annotations

from typing import Any

from documents import Document, typed

from corelm_pages import canvas
from corelm_pages.charts import charts


def names_of(document: Document) -> list[str]:
    return [chart.name for chart in charts(typed(document))]


def chart_of(document: Document, name: str) -> Any:
    return next(chart for chart in charts(typed(document)) if chart.name == name)


def axes_of(document: Document, name: str) -> list[Any]:
    """The axes of one chart of a report."""
    with canvas.style():
        return chart_of(document, name).draw(typed(document)).axes


def marks(axes: Any) -> dict[str, tuple[float, float]]:
    """The place of each mark by the label that points at it, in the order drawn.

    Whether a label fits near its mark depends on the widths of letters, which differ by version of
    matplotlib; it may be in the margin.
    """
    places = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() in "oD>"]
    labels = {text.get_text(): text.xy for text in axes.texts if text.xy in places}
    assert list(labels.values()) == places
    return labels
