"""`corelm study plan`: the cheapest design of a study, in prompts and texts of each prompt.

More texts of the same prompts say more about these prompts, and little more about others. So a
design follows from two variances of a paired difference, between prompts and within them, which a
pilot measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from corelm.commands import DONE, Output, blocks, stages
from corelm.errors import UsageError
from corelm.runs import ExecutorChoice, did_you_mean, label, shown
from corelm_report.document.content import Difference, Document
from corelm_report.document.figures import HUMAN, OF_SETS
from corelm_report.document.lookup import against
from corelm_report.metrics.estimates import FEWEST, LEVEL, student
from corelm_report.metrics.inference import MANY, VarianceParts
from corelm_report.studies.study_file import Study
from corelm_report.studies.study_reports import planned
from corelm_report.studies.unit_cache import UnitCache

LARGEST = 10**6
"""The number of prompts, or of texts of a prompt, from which a design counts as out of reach."""
TEXTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""The texts of a prompt that are tried."""


@dataclass(frozen=True)
class Goal:
    """The width or the power that a study should reach.

    Attributes:
        size: the difference to find, or half the width of its interval.
        power: the probability of finding it; None to reach a width.
    """

    size: float
    power: float | None

    def is_reached(self, variance: float, units: int) -> bool:
        """Return True if a difference with this variance over so many units reaches it.

        Source: Lehr 1992, Sixteen S-squared over D-squared, with Student's quantiles.

        Example:
            >>> Goal(0.5, 0.8).is_reached(1 / 34, 34), Goal(0.5, 0.8).is_reached(1 / 33, 33)
            (True, False)
        """
        freedom = max(units - 1, 1)
        reach = student(1 - LEVEL / 2, freedom)
        if self.power is not None:
            reach += math.copysign(student(max(self.power, 0.5), freedom), 1)
        return reach * math.sqrt(variance) <= self.size


@dataclass(frozen=True)
class Design:
    """A number of prompts, and of texts of each sampler for each prompt."""

    prompts: int
    texts: int

    @property
    def cost(self) -> int:
        """The texts of each sampler."""
        return self.prompts * self.texts

    def __str__(self) -> str:
        return f"{self.prompts:,} x {self.texts:,}"


@dataclass(frozen=True)
class Pilot:
    """The variances of the differences of one sampler, and the prompts of the pilot.

    Attributes:
        sampler: the sampler.
        parts: the variance of its paired difference between and within prompts.
        prompts: the number of prompts.
    """

    sampler: str
    parts: VarianceParts
    prompts: int

    @property
    def about_prompts(self) -> bool:
        """True if its intervals are about prompts like these, not about these prompts."""
        return self.prompts >= MANY

    def reaches(self, goal: Goal, design: Design) -> bool:
        """Return True if a design reaches a goal."""
        if self.about_prompts:
            variance = self.parts.of_design(design.prompts, design.texts)
            return design.prompts >= FEWEST and goal.is_reached(variance, design.prompts)
        variance = self.parts.within / design.cost
        return design.texts >= FEWEST and goal.is_reached(variance, design.texts)


def texts_needed(pilots: Sequence[Pilot], goal: Goal, prompts: int) -> Design | None:
    """Return the fewest texts with these prompts that reach a goal for all samplers.

    None if no number of texts does: then the prompts differ too much, and only more of them help.

    Example:
        >>> pilot = Pilot("greedy", VarianceParts(1.0, 4.0), 10)
        >>> print(texts_needed([pilot], Goal(1.5, 0.8), 10))
        10 x 4
        >>> texts_needed([pilot], Goal(0.1, 0.8), 10)
    """
    return _fewest(lambda n: Design(prompts, n), pilots, goal)


def cheapest(pilots: Sequence[Pilot], goal: Goal) -> Design | None:
    """Return the design with the fewest texts that reaches a goal for all samplers.

    With few prompts the study is about these prompts, and only the number of texts is free.

    Example:
        >>> print(cheapest([Pilot("greedy", VarianceParts(1.0, 4.0), 10)], Goal(0.5, 0.8)))
        159 x 1
    """
    if not all(each.about_prompts for each in pilots):
        return texts_needed(pilots, goal, pilots[0].prompts)
    designs = [_fewest(lambda p, n=n: Design(p, n), pilots, goal) for n in TEXTS]  # type: ignore[misc]
    return min((each for each in designs if each), key=lambda each: each.cost, default=None)


def _fewest(design: Callable[[int], Design], pilots: Sequence[Pilot], goal: Goal) -> Design | None:
    """Return the smallest of some designs in rising order that reaches a goal."""

    def reached(number: int) -> bool:
        return all(each.reaches(goal, design(number)) for each in pilots)

    high = 1
    while not reached(high):
        if high >= LARGEST:
            return None
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return design(high)


def plan_study(study: Study, figure: str, goal: Goal, executor: ExecutorChoice, out: Output) -> int:
    """Run a study as a pilot, and write the designs that reach a goal."""
    with UnitCache() as cache:
        for each in planned(study):
            with stages("units") as progress:
                document = Document.from_dict(each.document(cache, executor, progress))
            pilots = list(pilots_of(document, figure))
            seeds = len(document.header.seeds)
            out.show(blocks.line(label(each.model), "bold"))
            out.rows(
                ("sampler", "sd between prompts", "sd within", "cheapest"),
                [
                    (p.sampler, _deviation(p.parts.between), _deviation(p.parts.within),
                     str(cheapest([p], goal) or "none"))
                    for p in pilots
                ],
            )  # fmt: skip
            for sentence in advice(pilots, goal, figure, against(document), seeds):
                out.show(blocks.line(sentence))
    return DONE


def _deviation(variance: float | None) -> str:
    return "unknown" if variance is None else f"{math.sqrt(variance):.3g}"


def advice(
    pilots: Sequence[Pilot], goal: Goal, figure: str, other: str, seeds: int
) -> Iterator[str]:
    """Yield the sentences that say what to write, in the words of a study's file."""
    aim = f"To find a difference of {goal.size:g} in {figure} from {other}"
    aim += f" with a probability of {goal.power:.0%}" if goal.power else ""
    if goal.power is None:
        aim = f"For an interval of the difference in {figure} from {other} of {2 * goal.size:g}"
    prompts = pilots[0].prompts
    here, best = texts_needed(pilots, goal, prompts), cheapest(pilots, goal)
    if best is None:
        yield f"{aim}, no number of texts is enough."
    elif pilots[0].about_prompts:
        yield (
            f"{aim}, the cheapest design is {best.prompts:,} prompts x "
            f"{_samples(best, seeds):,} samples: {best.cost:,} texts of each sampler."
        )
        if here is None:
            yield (
                f"With the {prompts} prompts of the pilot no number of samples is enough: they "
                "differ too much from each other."
            )
        else:
            yield (
                f"With the {prompts} prompts of the pilot, samples = {_samples(here, seeds):,}: "
                f"{here.cost:,} texts of each sampler."
            )
    else:
        yield (
            f"{aim}, for {'this prompt' if prompts == 1 else 'these prompts'} alone, write samples "
            f"= {_samples(best, seeds):,}: {best.cost:,} texts of each sampler. For prompts like "
            f"{'it' if prompts == 1 else 'these'}, plan with {MANY} prompts or more."
        )


def _samples(design: Design, seeds: int) -> int:
    return -(-design.texts // seeds)


def pilots_of(document: Document, figure: str) -> Iterator[Pilot]:
    """Yield the variances of each sampler of a pilot.

    Raises:
        UsageError: the pilot has no paired differences of this figure.
    """
    if against(document) == HUMAN:
        raise UsageError(
            "the size is planned for differences between samplers, whose texts are pairs: name one "
            'of them, such as against = "temperature(t=1.0)"'
        )
    if figure in OF_SETS:
        raise UsageError(
            f"{figure} is a figure of a whole set of texts, and sizes are planned for means over "
            "texts: choose one of these, such as surprisal"
        )
    found = list(_pilots(document, figure))
    if not found:
        named = set(_named(document))
        hint = did_you_mean(figure, named) or f"; there are: {', '.join(sorted(named)) or 'none'}"
        raise UsageError(f"the pilot has no paired differences of {shown(figure)}{hint}")
    yield from found


def _pilots(document: Document, figure: str) -> Iterator[Pilot]:
    prompts = len(document.header.prompts)
    for entry in document.samplers:
        found = entry.differences and entry.differences.generated_texts.get(figure)
        if found and found.within is not None:
            yield Pilot(entry.sampler, VarianceParts(found.between, found.within), prompts)


def _named(document: Document) -> Iterable[str]:
    for entry in document.samplers:
        found: dict[str, Difference] = (
            entry.differences.generated_texts if entry.differences else {}
        )
        yield from (name for name, each in found.items() if each.within is not None)
