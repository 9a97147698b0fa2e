"""The design of a study: the prompts, and texts for each, that reach a width or a power."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from corelm_stats.estimates import FEWEST, MANY
from corelm_stats.intervals import LEVEL, chi_square, student, tails

LARGEST_DESIGN = 10**6
"""The most prompts, or texts per prompt; a design with more counts as out of reach."""
TEXTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""The numbers of texts per prompt to try."""


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
        """Return True if a difference with this variance over `units` units reaches the goal.

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

    def power_of(self, variance: float, units: int) -> float:
        """Return the chance to find a difference of this size with this variance over units.

        Example:
            >>> round(Goal(0.5, None).power_of(1 / 34, 34), 2)
            0.81
        """
        freedom = max(units - 1, 1)
        beyond = self.size / math.sqrt(variance) if variance else math.inf
        beyond -= student(1 - LEVEL / 2, freedom)
        tail = tails(min(beyond, 1e9), freedom) / 2
        return 1 - tail if beyond > 0 else tail


@dataclass(frozen=True)
class StudyDesign:
    """A number of prompts, and of each sampler's texts per prompt."""

    prompts: int
    texts: int

    @property
    def cost(self) -> int:
        """The texts of each sampler."""
        return self.prompts * self.texts

    def __str__(self) -> str:
        return f"{self.prompts:,} x {self.texts:,}"


@dataclass(frozen=True)
class VarianceParts:
    """The variance of a figure of a text, in two parts.

    Attributes:
        between: the variance between prompts; None if there is one prompt.
        within: the variance between texts of one prompt.
    """

    between: float | None
    within: float

    def of_design(self, prompts: int, texts: int) -> float:
        """Return the variance of the mean over `prompts` prompts with `texts` texts each.

        Example:
            >>> VarianceParts(4.0, 16.0).of_design(8, 4)
            1.0
        """
        return (self.between or 0.0) / prompts + self.within / (prompts * texts)


@dataclass(frozen=True)
class Pilot:
    """The variances of the differences of one sampler, and the prompts of the pilot.

    Attributes:
        sampler: the sampler.
        parts: the variance of its difference between and within prompts.
        prompts: the number of prompts.
        units: the number of independent units that the variances were measured over.
    """

    sampler: str
    parts: VarianceParts
    prompts: int
    units: int = 0

    @property
    def about_prompts(self) -> bool:
        """True if its intervals are about prompts like these, not only about these prompts."""
        return self.prompts >= MANY

    def of_design(self, design: StudyDesign) -> tuple[float, int]:
        """Return the variance of the difference in a study of this design, and its units."""
        if self.about_prompts:
            return self.parts.of_design(design.prompts, design.texts), design.prompts
        return self.parts.within / design.cost, design.texts

    def reaches(self, goal: Goal, design: StudyDesign) -> bool:
        """Return True if a design reaches a goal."""
        variance, units = self.of_design(design)
        return units >= FEWEST and goal.is_reached(variance, units)

    def bounds(self) -> tuple[Pilot, Pilot]:
        """Return the pilot with both ends of its variances' 95 % interval, the smaller first.

        The interval is for normal differences, with the units' degrees of freedom.
        """
        freedom = max(self.units - 1, 1)
        low, high = (freedom / chi_square(p, freedom) for p in (1 - LEVEL / 2, LEVEL / 2))
        return self._scaled(low), self._scaled(high)

    def _scaled(self, factor: float) -> Pilot:
        between, within = self.parts.between, self.parts.within
        return replace(self, parts=VarianceParts(between and factor * between, factor * within))


def texts_needed(pilots: Sequence[Pilot], goal: Goal, prompts: int) -> StudyDesign | None:
    """Return the fewest texts with these prompts that reach a goal for all samplers.

    None if no number of texts does: the prompts differ too much, and only more prompts help.

    Example:
        >>> pilot = Pilot("greedy", VarianceParts(1.0, 4.0), 10)
        >>> print(texts_needed([pilot], Goal(1.5, 0.8), 10))
        10 x 4
        >>> texts_needed([pilot], Goal(0.1, 0.8), 10)
    """
    return _fewest(lambda n: StudyDesign(prompts, n), pilots, goal)


def cheapest(pilots: Sequence[Pilot], goal: Goal) -> StudyDesign | None:
    """Return the design with the fewest texts that reaches a goal for all samplers.

    With few prompts the study is about these prompts, and only the number of texts can vary.

    Example:
        >>> print(cheapest([Pilot("greedy", VarianceParts(1.0, 4.0), 10)], Goal(0.5, 0.8)))
        159 x 1
    """
    if not all(each.about_prompts for each in pilots):
        return texts_needed(pilots, goal, pilots[0].prompts)
    designs = [_fewest(lambda p, n=n: StudyDesign(p, n), pilots, goal) for n in TEXTS]  # type: ignore[misc]
    return min((each for each in designs if each), key=lambda each: each.cost, default=None)


def _fewest(
    design: Callable[[int], StudyDesign], pilots: Sequence[Pilot], goal: Goal
) -> StudyDesign | None:
    """Return the smallest design that reaches a goal, from designs in rising order."""

    def reached(number: int) -> bool:
        return all(each.reaches(goal, design(number)) for each in pilots)

    high = 1
    while not reached(high):
        if high >= LARGEST_DESIGN:
            return None
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return design(high)
