"""Remarks on the conclusions of a report: unequal entropy, sources of error, a second scorer.

Samplers that were compared at unequal entropy may differ in their texts for that reason alone. The
variance of a difference has sources, and a cheaper design may give as narrow an interval. And every
scorer favours some samplers: bits per byte compare models with different vocabularies, and a
conclusion, a difference whose interval excludes 0, flips if two scorers give opposite signs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from corelm.runs import printable
from corelm_pages.formats import number
from corelm_report.document.content import Difference, Document, SamplerEntry
from corelm_report.document.figure import HUMAN, MEAN, SURPRISAL
from corelm_report.document.lookup import against
from corelm_report.document.wording import listed
from corelm_stats.intervals import LEVEL, student
from corelm_stats.study_design import Goal, Pilot, StudyDesign, VarianceParts, cheapest


def randomness_sentences(document: Document) -> Iterator[str]:
    """Yield a sentence that names the samplers that differ both in their texts and in entropy.

    Other settings of the sampler compared with are left out: they are compared to see the effect of
    its parameter.
    """
    name = against(document)
    other = next((each for each in document.samplers if each.sampler == name), None)
    if other is None:
        return
    unequal = [e for e in document.samplers if e.name != other.name and _differs(e)]
    if not unequal:
        return
    apart = [abs(e.differences.teacher_forced[MEAN].value or 0) for e in unequal if e.differences]
    names = listed([entry.sampler for entry in unequal])
    yield (
        f"{names} {'differs' if len(unequal) == 1 else 'differ'} from {name} in entropy, by "
        f"{number(min(apart))}{f' to {number(max(apart))}' if len(apart) > 1 else ''} nats, so "
        "differences of their texts may be those of randomness: compare at equal entropy "
        "(--match entropy=...) before you call one better."
    )


def _differs(entry: SamplerEntry) -> bool:
    """Return True if both the entropy and the surprisal of the texts differ beyond chance."""
    if entry.differences is None:
        return False
    entropy = entry.differences.teacher_forced.get(MEAN)
    texts = entry.differences.generated_texts.get(SURPRISAL)
    return all(
        each is not None and each.ci95 is not None and not each.ci95[0] <= 0 <= each.ci95[1]
        for each in (entropy, texts)
    )


LARGEST = 1e100
"""Parts are named for variances up to this one."""
CHEAPER = 0.8
"""A design must need at most this share of the texts to be suggested."""


def error_sentences(document: Document) -> list[str]:
    """Describe the sources of the variance of the least certain difference in surprisal.

    A design with fewer texts is suggested if its interval would be as narrow. Nothing is said where
    the sources are unknown, for example with one text per prompt.
    """
    header = document.header
    places = len(set(header.clusters or header.prompts))
    texts = header.n * len(header.seeds or [1]) * len(header.prompts) // max(places, 1)
    design = StudyDesign(places, texts)
    pilots = differences_as_pilots(document, SURPRISAL) if design.cost else ()
    sources = [(pilot, _by_source(pilot, design)) for pilot in pilots]
    pilot, (of_prompts, of_texts, of_other) = max(
        sources, key=lambda each: sum(each[1]), default=(None, (0.0, 0.0, 0.0))
    )
    whole = of_prompts + of_texts + of_other
    # About these prompts alone, only the other sample can be a surprise.
    if pilot is None or not whole or not (pilot.about_prompts or of_other > whole / 2):
        return []
    kind = "clusters" if header.clusters else "prompts"
    sample = "human sample" if against(document) == HUMAN else "sample compared with"
    named = [
        (of_prompts if pilot.about_prompts else None, f"the choice of {kind}"),
        (of_texts, "the texts of each" if pilot.about_prompts else "the texts"),
        (of_other or None, f"the {sample}"),
    ]
    shares = [f"{each / whole:.0%} is from {what}" for each, what in named if each is not None]
    sentences = [
        f"Of the variance of the difference in surprisal of {pilot.sampler}, {listed(shares)}."
    ]
    if better := _cheaper(pilot, design, whole):
        texts_of_each = printable.counted(better.texts, "text")
        sentences.append(
            f"{better.prompts:,} {kind} x {texts_of_each} would have about as narrow an interval "
            f"as {design}, with {better.cost:,} texts of each sampler in place of {design.cost:,}."
        )
    elif of_other > whole / 2:
        sentences.append("More human texts would help most.")
    return sentences


def differences_as_pilots(document: Document, figure: str) -> Iterator[Pilot]:
    """Yield the variances of each sampler's difference in a figure, where they are known."""
    # Where prompts have clusters, these are what the variances are between.
    places = len(set(document.header.clusters or document.header.prompts))
    for entry in document.samplers:
        each = entry.differences and entry.differences.generated_texts.get(figure)
        if each and each.within is not None:
            parts, other = VarianceParts(each.between, each.within), each.other or 0.0
            # A document that somebody edited may hold any numbers.
            if all(0 <= part < LARGEST for part in (parts.between or 0.0, parts.within, other)):
                yield Pilot(entry.sampler, parts, places, other, each.units or 0)


def _by_source(pilot: Pilot, design: StudyDesign) -> tuple[float, float, float]:
    """Return the variance due to the prompts, to the texts of each, and to the other sample."""
    between = (pilot.parts.between or 0.0) / design.prompts if pilot.about_prompts else 0.0
    return between, pilot.parts.within / design.cost, pilot.other


def _cheaper(pilot: Pilot, design: StudyDesign, variance: float) -> StudyDesign | None:
    """Return a design with fewer texts whose interval would be as narrow, or None."""
    units = design.prompts if pilot.about_prompts else design.texts
    half = student(1 - LEVEL / 2, max(units - 1, 1)) * math.sqrt(variance)
    better = cheapest([pilot], Goal(half, None))
    return better if better and better.cost <= CHEAPER * design.cost else None


OWN, SECOND = "bits_per_byte", "scorer_bits_per_byte"
"""The figure under the model that wrote the texts, and under the second scorer."""


@dataclass(frozen=True)
class Conclusion:
    """The differences of a sampler in bits per byte, under each scorer.

    Attributes:
        sampler: the sampler.
        differences: by scorer, each with its interval.
    """

    sampler: str
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def flips(self) -> bool:
        """True if two scorers give differences of opposite signs."""
        return {-1, 1} <= {_sign(each) for each in self.differences.values()}


def _sign(difference: Difference) -> int:
    """Return 1 or -1, the sign of a difference, if its interval excludes 0, and 0 otherwise.

    Example:
        >>> _sign(Difference(value=1.0, ci95=[0.5, 1.5])), _sign(Difference(value=1.0, ci95=None))
        (1, 0)
    """
    if difference.ci95 is None:
        return 0
    low, high = difference.ci95
    return 1 if low > 0 else -1 if high < 0 else 0


def conclusions(documents: Iterable[Document]) -> list[Conclusion]:
    """Collect the conclusions of reports on the same texts, each under its own second scorer."""
    rows: dict[str, Conclusion] = {}
    for document in documents:
        scorers, second = {document.header.model.name: OWN}, document.header.second_scorer
        if second:
            scorers.setdefault(second.name, SECOND)
        for entry in document.samplers:
            if entry.differences is None:
                continue
            row = rows.setdefault(entry.sampler, Conclusion(entry.sampler))
            for scorer, figure in scorers.items():
                each = entry.differences.generated_texts.get(figure)
                if each is not None and each.value is not None:
                    row.differences.setdefault(scorer, each)
    return [row for row in rows.values() if len(row.differences) > 1]


def flip_sentences(document: Document) -> Iterator[str]:
    """Yield a sentence for each conclusion that flips with the scorer; one if none does."""
    rows = conclusions([document])
    flipping = [row for row in rows if row.flips]
    if not rows:
        return
    other = "human text" if against(document) == HUMAN else against(document)
    names = listed(list(rows[0].differences))
    if not flipping:
        yield f"No conclusion on bits per byte differs between {names}."
    for row in flipping:
        first, second = (each.value or 0.0 for each in row.differences.values())
        yield (
            f"The conclusion on {row.sampler} flips with the scorer: it has "
            f"{number(abs(first))} bits per byte {_word(first)} than {other} under "
            f"{next(iter(row.differences))}, and {number(abs(second))} {_word(second)} under "
            f"{list(row.differences)[1]}."
        )


def _word(difference: float) -> str:
    return "more" if difference > 0 else "fewer"


def table_of(rows: Sequence[Conclusion]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the headings and rows of a table of conclusions, those that flip marked."""
    names = list(dict.fromkeys(name for row in rows for name in row.differences))
    cells = [
        (row.sampler, *(_cell(row.differences.get(name)) for name in names),
         "flips" if row.flips else "")
        for row in rows
    ]  # fmt: skip
    return ["sampler", *names, ""], cells


def _cell(difference: Difference | None) -> str:
    if difference is None or difference.value is None:
        return "none"
    text = f"{difference.value:+.3f}"
    return (
        text
        if difference.ci95 is None
        else f"{text} ({difference.ci95[0]:+.3f} to {difference.ci95[1]:+.3f})"
    )
