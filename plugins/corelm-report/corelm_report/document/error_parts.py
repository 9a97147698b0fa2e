"""The sources of error in a report's differences, and a cheaper design with as narrow intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from corelm.runs import printable
from corelm_report.document.content import Difference, Document
from corelm_report.document.figure import HUMAN
from corelm_report.document.lookup import against
from corelm_report.document.numbers import listed
from corelm_report.metrics.conclusions import Design, Goal, Pilot, VarianceParts, cheapest
from corelm_report.metrics.quantiles import LEVEL, student

FIGURE = "surprisal"
LARGEST = 1e100
"""Parts are named for variances up to this one."""
CHEAPER = 0.8
"""A design must need at most this share of the texts to be suggested."""


@dataclass(frozen=True)
class ErrorParts:
    """The variance of a report's least certain difference, by source.

    Attributes:
        sampler: the sampler.
        of_prompts: the variance due to the prompts; None if the report is about these prompts only.
        of_texts: the variance due to the texts of a prompt.
        of_human: the variance due to the human sample, or to another unpaired one.
        design: the prompts, and the texts of each.
        better: a design with fewer texts whose interval would be as narrow; None without one.
    """

    sampler: str
    of_prompts: float | None
    of_texts: float
    of_human: float
    design: Design
    better: Design | None

    @property
    def whole(self) -> float:
        """The sum of the parts."""
        return (self.of_prompts or 0.0) + self.of_texts + self.of_human


def error_parts(document: Document) -> ErrorParts | None:
    """Return the variance parts of the surprisal, for the sampler with the largest variance.

    None if they are unknown, for example with one text per prompt.
    """
    header = document.header
    places = len(set(header.clusters or header.prompts))
    texts = header.n * len(header.seeds or [1]) * len(header.prompts) // max(places, 1)
    found = [
        _of_difference(entry.sampler, each, Design(places, texts))
        for entry in document.samplers
        if entry.differences and (each := entry.differences.generated_texts.get(FIGURE))
        # A document that somebody edited may hold any numbers.
        if each.within is not None and places * texts > 0
        if all(0 <= part < LARGEST for part in (each.between or 0.0, each.within, each.other or 0))
    ]
    return max(found, key=lambda parts: parts.whole, default=None)


def _of_difference(sampler: str, found: Difference, design: Design) -> ErrorParts:
    variances = VarianceParts(found.between, found.within or 0.0)
    pilot = Pilot(sampler, variances, design.prompts, found.other or 0.0)
    between = (found.between or 0.0) / design.prompts if pilot.about_prompts else None
    parts = ErrorParts(
        sampler, between, variances.within / design.cost, found.other or 0.0, design, None
    )
    units = design.prompts if pilot.about_prompts else design.texts
    half = student(1 - LEVEL / 2, max(units - 1, 1)) * math.sqrt(parts.whole)
    better = cheapest([pilot], Goal(half, None)) if parts.whole else None
    if better is None or better.cost > CHEAPER * design.cost:
        return parts
    return ErrorParts(sampler, between, parts.of_texts, parts.of_human, design, better)


def error_sentences(document: Document) -> list[str]:
    """Describe the parts of the error, and suggest a cheaper design if there is one."""
    parts = error_parts(document)
    if parts is None or not parts.whole:
        return []
    # About these prompts alone, only the human sample can be a surprise.
    if parts.of_prompts is None and parts.of_human <= parts.whole / 2:
        return []
    places = "clusters" if document.header.clusters else "prompts"
    other = "human sample" if against(document) == HUMAN else "sample compared with"
    named = [
        (parts.of_prompts, f"the choice of {places}"),
        (parts.of_texts, "the texts of each" if parts.of_prompts is not None else "the texts"),
        (parts.of_human or None, f"the {other}"),
    ]
    shares = [
        f"{each / parts.whole:.0%} is from {what}" for each, what in named if each is not None
    ]
    found = [
        f"Of the variance of the difference in surprisal of {parts.sampler}, {listed(shares)}."
    ]
    if parts.better is not None:
        new, old = parts.better, parts.design
        texts = printable.counted(new.texts, "text")
        found.append(
            f"{new.prompts:,} {places} x {texts} would have as narrow an interval as "
            f"{old.prompts:,} x {old.texts:,}, with {new.cost:,} texts of each sampler in place of "
            f"{old.cost:,}."
        )
    elif parts.of_human > parts.whole / 2:
        found.append("More human texts would help most.")
    return found
