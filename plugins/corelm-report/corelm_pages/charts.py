"""The charts of a report, the numbers behind each as CSV, its files and drawings inside a page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from corelm_pages.canvas import COLUMN, HEIGHT, SHRUNK, WIDTH, element, image, shrink, style
from corelm_pages.curves import (
    MOST_LINES,
    entropy_by_position,
    has_cuts,
    has_positions,
    has_recall,
    has_texts,
    mass_kept_by_position,
    recall_against_mass_kept,
    surprisal_against_diversity,
    surprisal_against_temperature,
)
from corelm_pages.formats import as_csv
from corelm_pages.labels import sweeps
from corelm_pages.overview import targets
from corelm_report.document.content import Document
from corelm_report.document.figures import EXPECTED, GENERATED, TEACHER_FORCED
from corelm_report.document.lookup import estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """One chart of a report.

    Attributes:
        name: the name of its files, and the anchor on the page.
        title: its heading.
        draw: draws it from a document.
        caption: how to read it.
        data: its numbers as CSV.
    """

    name: str
    title: str
    draw: Callable[[Document], Figure]
    caption: str
    data: Callable[[Document], str]


def charts(document: Document) -> Iterator[Chart]:
    """Yield the charts of a report; matched and swept samplers come first."""
    first = [*_matched(document), *_sweep(document)]
    yield from first
    # The page shows the first two above its tables.
    surprisal = [_surprisal()] if has_texts(document) else []
    temperature = [_temperature(document)] if document.curve.t else []
    yield from surprisal + temperature if first else temperature + surprisal
    if has_recall(document):
        yield _recall(document)
    few = f" At most {MOST_LINES} samplers are drawn, evenly spread by entropy; the data have all."
    few *= len(document.samplers) > MOST_LINES
    if has_positions(document):
        yield replace(_ENTROPY, caption=_ENTROPY.caption + few)
    if has_cuts(document):
        yield replace(_MASS, caption=_MASS.caption + few)


def _matched(document: Document) -> Iterator[Chart]:
    if not document.header.matched:
        return
    # Late, as here and in `_sweep`: few reports have panels.
    from corelm_pages.panels import COMPARED, has_figures, matched_samplers

    if not has_figures(document):
        return
    yield Chart(
        "matched-samplers",
        "Matched samplers",
        matched_samplers,
        f"The open parameters give {targets(document)}, so that other figures compare fairly. The "
        "line through a dot is its 95% interval."
        + _of_human(document, "The upright line and band show human text."),
        lambda document: csv_of_figures(document, *COMPARED),
    )


def _sweep(document: Document) -> Iterator[Chart]:
    if not sweeps(document):
        return
    from corelm_pages.panels import SWEPT, figures_of_sweeps

    yield Chart(
        "figures-of-sweeps",
        "Along the sweep",
        figures_of_sweeps,
        "Each dot is one setting. The band around a line is the 95% interval."
        + _of_human(document, "The dashed level is human text."),
        lambda document: csv_of_figures(document, *SWEPT),
    )


def _of_human(document: Document, sentence: str) -> str:
    """Return the sentence if the report has human text, else ""."""
    return f" {sentence}" if document.human else ""


def _temperature(document: Document) -> Chart:
    return Chart(
        "surprisal-against-temperature",
        "Expected surprisal against temperature",
        surprisal_against_temperature,
        "The curve is the expected surprisal under the model of a token drawn at each temperature, "
        "at the same positions for all; a sampler's own texts may have less or more. Every other "
        "sampler is where the curve has its expected surprisal." + _crossing(document),
        csv_of_curve,
    )


def _crossing(document: Document) -> str:
    """Explain the band of human words, if the report has one; the evidence has the temperature."""
    fit = document.human.temperature if document.human else None
    if fit is None:
        return ""
    converted = ", measured on other texts and converted to these" if fit.estimated else ""
    crosses = " It crosses the curve at the maximum-likelihood temperature." * (fit.t is not None)
    return f" The band is the surprisal of human words with its 95% interval{converted}.{crosses}"


def _surprisal() -> Chart:
    return Chart(
        "surprisal-against-diversity",
        "Surprisal against diversity",
        surprisal_against_diversity,
        "Texts further down are more likely to the model, texts further right are more diverse; "
        "thin crosses are 95% intervals. The line joins the samplers whose dots no other one beats "
        "in both: the Pareto front of this sample.",
        lambda document: csv_of_figures(document, DIVERSITY, SURPRISAL),
    )


def _recall(document: Document) -> Chart:
    return Chart(
        "recall-against-mass-kept",
        "Human recall against mass kept",
        recall_against_mass_kept,
        f"The share of the words at these {document.header.contexts.positions:,} positions that "
        "each sampler could still have drawn, against the model's probability that it keeps; thin "
        "crosses are 95% intervals. On the dashed diagonal the two are equal: below it a sampler "
        "loses more of the words than the model expects.",
        lambda document: csv_of_figures(document, MASS, RECALL),
    )


_ENTROPY = Chart(
    "entropy-by-position",
    "Entropy by position",
    entropy_by_position,
    "Mean entropy of the distribution drawn from, on the same contexts.",
    lambda document: csv_by_position(document, "entropy"),
)


_MASS = Chart(
    "mass-kept-by-position",
    "Mass kept by position",
    mass_kept_by_position,
    "Mean share of the model's probability that is left to draw from, on the same contexts.",
    lambda document: csv_by_position(document, "mass_kept"),
)


DIGITS = 6
"""The significant digits of a number: more than a chart shows, at half the bytes of full
precision."""

View = tuple[str, str]
"""A figure and its view."""
SURPRISAL, DIVERSITY = ("surprisal", GENERATED), ("diversity", GENERATED)
MASS, RECALL = ("mass_kept", TEACHER_FORCED), ("human_recall", TEACHER_FORCED)


def csv_of_figures(document: Document, *figures: View) -> str:
    """Return a line for each entry with some of its figures and their 95 % intervals."""
    header = [f"{name}{end}" for name, _ in figures for end in ("", "_low", "_high")]
    return as_csv(["sampler", *header], _figures(document, figures))


def _figures(document: Document, figures: Sequence[View]) -> Iterator[list[Any]]:
    for entry in document.entries:
        measured = [estimate(entry, *figure) for figure in figures]
        if any(measured):
            cells = [
                (each.value, each.low, each.high) if each else (None,) * 3 for each in measured
            ]
            yield [entry.label, *(_short(each) for cell in cells for each in cell)]


def csv_of_curve(document: Document) -> str:
    """Return the curve of expected surprisal, then the value and the interval of each sampler."""
    curve = document.curve
    lines = [
        ["", _short(t), _short(nats)] for t, nats in zip(curve.t, curve.surprisal, strict=False)
    ]
    marks = [
        [name, None, *rest] for name, *rest in _figures(document, [(EXPECTED, TEACHER_FORCED)])
    ]
    header = ["sampler", "temperature", EXPECTED]
    ends = [f"{header[-1]}_low", f"{header[-1]}_high"]
    return as_csv([*header, *ends], [[*line, None, None] for line in lines] + marks)


def csv_by_position(document: Document, figure: str) -> str:
    """Return a line for each position, with a column for each sampler."""
    columns = {
        entry.sampler: {place["position"]: place.get(figure) for place in part.by_position}
        for entry in document.samplers
        if (part := entry.teacher_forced) and part.by_position
    }
    positions = sorted({place for column in columns.values() for place in column})
    rows = [
        [place + 1, *(_short(column.get(place)) for column in columns.values())]
        for place in positions
    ]
    return as_csv(["position", *columns], rows)


def _short(value: Any) -> Any:
    """Round a number; a value that was not measured stays None."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


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
    entries = [replace(entry, texts=[]) for entry in document.samplers]
    small = replace(document, samplers=entries, try_it=None)
    return Document.from_dict(_bounded(small.to_dict()))


def _bounded(part: Any) -> Any:
    """Copy a part of a document, with all numbers clipped to the range that matplotlib can draw."""
    if isinstance(part, Mapping):
        return {name: _bounded(inner) for name, inner in part.items()}
    if isinstance(part, list):
        return [_bounded(inner) for inner in part]
    return min(max(part, -LARGEST), LARGEST) if isinstance(part, float) else part
