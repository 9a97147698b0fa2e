"""Remarks on the conclusions of a report: unequal entropy, sources of error, a second scorer.

Samplers that were compared at unequal entropy may differ in their texts for that reason alone. The
variance of a difference has sources, and a cheaper design may give as narrow an interval. And every
scorer favours some samplers: bits per byte compare models with different vocabularies, and a
conclusion, a difference whose interval excludes 0, flips if two scorers give opposite signs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from corelm.runs import printable
from corelm_report.document.content import Difference, Document, SamplerEntry
from corelm_report.document.figure import HUMAN, MEAN, SURPRISAL, listed, number
from corelm_report.document.lookup import against
from corelm_report.metrics.conclusions import Goal, Pilot, StudyDesign, VarianceParts, cheapest
from corelm_report.metrics.intervals import LEVEL, student


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
    apart = [abs(_value(entry)) for entry in unequal]
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


def _value(entry: SamplerEntry) -> float:
    entropy = entry.differences and entry.differences.teacher_forced[MEAN].value
    return entropy or 0.0


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
    design: StudyDesign
    better: StudyDesign | None

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
    every = [
        _of_difference(entry.sampler, each, StudyDesign(places, texts))
        for entry in document.samplers
        if entry.differences and (each := entry.differences.generated_texts.get(SURPRISAL))
        # A document that somebody edited may hold any numbers.
        if each.within is not None and places * texts > 0
        if all(0 <= part < LARGEST for part in (each.between or 0.0, each.within, each.other or 0))
    ]
    return max(every, key=lambda parts: parts.whole, default=None)


def _of_difference(sampler: str, difference: Difference, design: StudyDesign) -> ErrorParts:
    variances = VarianceParts(difference.between, difference.within or 0.0)
    pilot = Pilot(sampler, variances, design.prompts, difference.other or 0.0)
    between = (difference.between or 0.0) / design.prompts if pilot.about_prompts else None
    parts = ErrorParts(
        sampler, between, variances.within / design.cost, difference.other or 0.0, design, None
    )
    units = design.prompts if pilot.about_prompts else design.texts
    half = student(1 - LEVEL / 2, max(units - 1, 1)) * math.sqrt(parts.whole)
    better = cheapest([pilot], Goal(half, None)) if parts.whole else None
    if better is None or better.cost > CHEAPER * design.cost:
        return parts
    return replace(parts, better=better)


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
    sentences = [
        f"Of the variance of the difference in surprisal of {parts.sampler}, {listed(shares)}."
    ]
    if parts.better is not None:
        new, old = parts.better, parts.design
        texts = printable.counted(new.texts, "text")
        sentences.append(
            f"{new.prompts:,} {places} x {texts} would have as narrow an interval as "
            f"{old.prompts:,} x {old.texts:,}, with {new.cost:,} texts of each sampler in place of "
            f"{old.cost:,}."
        )
    elif parts.of_human > parts.whole / 2:
        sentences.append("More human texts would help most.")
    return sentences


OWN, SECOND = "bits_per_byte", "scorer_bits_per_byte"
"""The figure under the model that wrote the texts, and under the second scorer."""


@dataclass(frozen=True)
class Conclusion:
    """The differences of a sampler in bits per byte, under each scorer.

    Attributes:
        sampler: the sampler.
        against: the entry compared with.
        differences: by scorer, each with its interval.
    """

    sampler: str
    against: str
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
        name = against(document)
        for entry in document.samplers:
            if entry.differences is None:
                continue
            row = rows.setdefault(entry.sampler, Conclusion(entry.sampler, name))
            for scorer, figure in _scorers(document).items():
                each = entry.differences.generated_texts.get(figure)
                if each is not None and each.value is not None:
                    row.differences.setdefault(scorer, each)
    return [row for row in rows.values() if len(row.differences) > 1]


def _scorers(document: Document) -> Mapping[str, str]:
    second = document.header.second_scorer
    own = {document.header.model.name: OWN}
    return own | ({second.name: SECOND} if second and second.name not in own else {})


def flip_sentences(document: Document) -> Iterator[str]:
    """Yield a sentence for each conclusion that flips with the scorer; one if none does."""
    rows = conclusions([document])
    flipping = [row for row in rows if row.flips]
    if not rows:
        return
    other = "human text" if rows[0].against == HUMAN else rows[0].against
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
