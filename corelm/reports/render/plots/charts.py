"""The charts of a report, in the order in which its page shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corelm.reports.document.content import Document
from corelm.reports.document.figures import GENERATED
from corelm.reports.document.numbers import number
from corelm.reports.render.plots import data
from corelm.reports.render.plots.entries import sweeps
from corelm.reports.render.plots.panels import (
    COMPARED,
    SWEPT,
    figures_of_sweeps,
    has_figures,
    matched_samplers,
)
from corelm.reports.render.plots.positions import (
    entropy_by_position,
    has_cuts,
    has_positions,
    mass_kept_by_position,
)
from corelm.reports.render.plots.scatter import (
    has_recall,
    has_texts,
    positions,
    recall_against_mass_kept,
    surprisal_against_diversity,
)
from corelm.reports.render.plots.temperature import surprisal_against_temperature
from corelm.reports.render.sentences import targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """One chart of a report.

    Attributes:
        name: the name of its files, and the anchor on the page.
        title: its heading.
        short: the title in a list of links.
        draw: draws it from a document.
        caption: how to read it.
        label: its description for readers who cannot see it.
        data: its numbers as CSV.
    """

    name: str
    title: str
    short: str
    draw: Callable[[Document], Figure]
    caption: str
    label: str
    data: Callable[[Document], str]


def charts(document: Document) -> Iterator[Chart]:
    """Yield the charts of a report; matched and swept samplers come first."""
    first = [_matched(document)] if document.header.matched and has_figures(document) else []
    first += [_sweep(document)] if sweeps(document) else []
    yield from first
    # The page shows the first two above its tables.
    surprisal = [_surprisal(document)] if has_texts(document) else []
    temperature = [_temperature(document)] if document.curve.t else []
    yield from surprisal + temperature if first else temperature + surprisal
    if has_recall(document):
        yield _recall(document)
    if has_positions(document):
        yield _ENTROPY
    if has_cuts(document):
        yield _MASS


def _matched(document: Document) -> Chart:
    return Chart(
        "matched-samplers",
        "Matched samplers",
        "Matched",
        matched_samplers,
        f"The open parameters give {targets(document)}, so that other figures compare fairly. The "
        "line through a dot is its 95 % interval."
        + _of_human(document, "The upright line and band show human text."),
        "Figures of each matched sampler with their intervals. The table has the figures.",
        lambda document: data.of_figures(document, *COMPARED),
    )


def _sweep(document: Document) -> Chart:
    return Chart(
        "figures-of-sweeps",
        "Along the sweep",
        "Sweep",
        figures_of_sweeps,
        "Each dot is one setting. The band around a line is the 95 % interval."
        + _of_human(document, "The dashed level is human text."),
        "Entropy, surprisal and diversity against the parameter of each sweep. The table has the "
        "figures.",
        lambda document: data.of_figures(document, *SWEPT),
    )


def _of_human(document: Document, sentence: str) -> str:
    """Return a sentence about human text, if the report has any."""
    return f" {sentence}" if document.human else ""


def _temperature(document: Document) -> Chart:
    return Chart(
        "surprisal-against-temperature",
        "Expected surprisal against temperature",
        "Temperature",
        surprisal_against_temperature,
        "The curve is the surprisal under the model to be expected of a token drawn at each "
        "temperature. Every other sampler is placed where the curve has the same expected "
        "surprisal." + _crossing(document),
        "Mean expected surprisal rises with temperature; each sampler is a mark on the curve. The "
        "table Teacher-forced has the figures.",
        data.of_curve,
    )


def _crossing(document: Document) -> str:
    """Explain the band of human text, if the report has one."""
    fit = document.human.temperature if document.human else None
    if fit is None:
        return ""
    band = (
        " The band is the surprisal of human words with its 95 % interval"
        + (", measured on other texts and converted to these" if fit.estimated else "")
        + "."
    )
    if fit.t is None:
        return band
    where = f"{'about ' * fit.estimated}{number(fit.t)}{_between(fit.t_ci95)}"
    return f"{band} It crosses the curve at the maximum-likelihood temperature: {where}."


def _between(ends: list[float] | None) -> str:
    return f" (95 % interval {number(ends[0])} to {number(ends[1])})" if ends else ""


def _surprisal(document: Document) -> Chart:
    return Chart(
        "surprisal-against-diversity",
        "Surprisal against diversity",
        "Surprisal",
        surprisal_against_diversity,
        "Texts further up are more likely to the model, texts further right are more diverse; thin "
        f"crosses are 95 % intervals. {_front(document)}",
        "Surprisal under the model against diversity for the texts of each sampler. The table "
        "Generated texts has the figures.",
        lambda document: data.of_figures(document, data.DIVERSITY, data.SURPRISAL),
    )


def _front(document: Document) -> str:
    """Explain the line, which says little if it joins all samplers."""
    drawn = [name for front in document.fronts if front.view == GENERATED for name in front.entries]
    if len(drawn) < len([entry for entry in document.samplers if not entry.error]):
        return (
            "The line joins the samplers whose dots no other one beats in both: the Pareto front "
            "of this sample."
        )
    return (
        "In this sample no sampler beats another in both: along the line, diversity has its price "
        "in surprisal."
    )


def _recall(document: Document) -> Chart:
    return Chart(
        "recall-against-mass-kept",
        "Human recall against mass kept",
        "Recall",
        recall_against_mass_kept,
        f"The share of the words at these {positions(document):,} positions that each sampler "
        "could still have drawn, against the model's probability that it keeps; thin crosses are "
        "95 % intervals. On the dashed diagonal the two are equal: below it a sampler loses more "
        "of the words than the model expects.",
        "Human recall against mass kept of each sampler. The table Teacher-forced has the figures.",
        lambda document: data.of_figures(document, data.MASS, data.RECALL),
    )


_ENTROPY = Chart(
    "entropy-by-position",
    "Entropy by position",
    "Positions",
    entropy_by_position,
    "Mean entropy of the distribution drawn from, on the same contexts.",
    "Mean entropy of each sampler at each position in the text. The table Teacher-forced has the "
    "means.",
    lambda document: data.by_position(document, "entropy"),
)


_MASS = Chart(
    "mass-kept-by-position",
    "Mass kept by position",
    "Mass",
    mass_kept_by_position,
    "Mean share of the model's probability that is left to draw from, on the same contexts.",
    "Mean share of the model's probability that each sampler keeps, at each position in the text.",
    lambda document: data.by_position(document, "mass_kept"),
)
