"""Conclusions from several figures: what differs, what is closest or best, what a study needs.

The kinds of statements share one level: in at most 5 % of all reports some statement is false, of
whatever kind, because each kind has an equal part of the 5 % (Bonferroni): 1 % for all its
statements in a report together. Intervals make no such statement; each has 95 % of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from corelm_report.metrics.estimates import FEWEST, MANY, Estimate
from corelm_report.metrics.intervals import LEVEL, Interval, chi_square, student, tails

KINDS = (
    "bold differences",
    "significant permutation tests",
    "the closest to human text",
    "differences from human text",
    "figures above a limit",
)
EACH = LEVEL / len(KINDS)
"""The level of each kind of statement: the chance that a report has a false one of this kind; of
bold differences, the largest average share of false ones among them (the false discovery rate)."""
CONFIDENCE = f"{100 * (1 - EACH):g}%"
"""The confidence in all statements of a kind, in words."""


Test = TypeVar("Test", bound=Any)
"""A dataclass with a p-value, or None, and a place for the corrected one."""


def confidence(rows: int) -> float:
    """Return the level of each of several intervals that hold together at 99 % (Bonferroni).

    Example:
        >>> round(confidence(1), 4), round(confidence(10), 4)
        (0.99, 0.999)
    """
    return 1 - EACH / max(rows, 1)


def simultaneous(estimates: Sequence[Estimate | None], further: int = 0) -> list[Interval | None]:
    """Return intervals that all hold the truth in 99 of 100 reports.

    Args:
        estimates: the figures, or differences.
        further: the number of further statements of the same kind in the report.

    Example:
        >>> one = Estimate.of_ratio("texts", [1.0, 2.0, 3.0, 4.0] * 4, [1.0] * 16)
        >>> [low] = [ends[0] for ends in simultaneous([one])]
        >>> low > simultaneous([one] * 20)[0][0]
        True
    """
    level = confidence(sum(each is not None for each in estimates) + further)
    return [None if each is None else each.interval(level) for each in estimates]


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values with Holm's correction, which bounds the chance of any false finding.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, largest = [1.0] * len(values), 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[at]))
        adjusted[at] = largest
    return adjusted


def with_holm(tests: Sequence[Test]) -> list[Test]:
    """Return tests with `p_holm`, Holm's correction of their `p` for all that have one."""
    adjusted = iter(holm([test.p for test in tests if test.p is not None]))
    return [test if test.p is None else replace(test, p_holm=next(adjusted)) for test in tests]


def discoveries(values: Iterable[float]) -> float:
    """Return the largest p-value that is significant at the false discovery rate `EACH`.

    It is -1 if none is.

    Source: Benjamini and Hochberg 1995, Controlling the false discovery rate: a practical and
    powerful approach to multiple testing, doi 10.1111/j.2517-6161.1995.tb02031.x.

    Example:
        >>> discoveries([0.001, 0.004, 0.04, 0.9]), discoveries([0.9])
        (0.004, -1.0)
    """
    ordered = sorted(values)
    return max((p for n, p in enumerate(ordered, 1) if p <= EACH * n / len(ordered)), default=-1.0)


def closest_set(settings: Mapping[str, Estimate], target: Estimate) -> list[str]:
    """Return the settings among which the closest one is, in 99 % of all studies.

    A setting is left out if another one is significantly closer: the figures differ, and the target
    is on the other's side of their midpoint. Both must be significant (Berger 1982, Multiparameter
    hypothesis testing and acceptance sampling). The error of the target is part of the second test.
    The level of each test is divided by the number of the other settings (Bonferroni).

    Args:
        settings: the figure of each setting.
        target: the value to come close to.

    Source: Hsu 1996, Multiple comparisons: theory and methods (multiple comparisons with the best);
    Hansen, Lunde and Nason 2011, The model confidence set, doi 10.3982/ECTA5771.

    Example:
        >>> import numpy as np
        >>> texts = np.array([1.0, 2.0, 3.0, 4.0] * 16)
        >>> near, far = (Estimate.of_ratio("texts", texts + by, np.ones(64)) for by in (0, 9))
        >>> target = Estimate(3.0, noise=0.01)
        >>> closest_set({"near": near, "far": far}, target)
        ['near']
    """
    level = EACH / max(len(settings) - 1, 1)
    return [
        name
        for name, own in settings.items()
        if not any(
            other is not own and _is_closer(other, own, target, level)
            for other in settings.values()
        )
    ]


def _is_closer(first: Estimate, second: Estimate, target: Estimate, level: float) -> bool:
    """Return True if the first figure is closer to the target than the second, beyond chance."""
    apart, beyond = first - second, target - first.middle(second)
    if apart.value < 0:
        apart, beyond = (each.moved(-1.0, -each.value) for each in (apart, beyond))
    return apart.is_above(level) and beyond.is_above(level)


SEED, ROUNDS = 0, 1000
"""The random seed of the resampling, and the number of resampled sets."""


def best_of(settings: Sequence[Estimate], target: float) -> tuple[int, float, Interval] | None:
    """Return the setting whose figure is closest to a target, corrected for its selection.

    The best of many settings owes part of its figure to chance, and more of it the more settings
    were tried. The bootstrap repeats the selection: it selects the best setting of every resampled
    set, and records the error of its figure. The average error is the gain by chance; the figure
    and its interval are moved back by it. The true figures differ less than the measured ones, to
    which noise adds variance; the resampled figures are centred accordingly.

    Args:
        settings: the figure of each setting, over the same units.
        target: the value that is best.

    Returns:
        The index of the setting, and its mean and the interval of its mean without the gain by
        chance; None if a setting has no interval, or if their units differ.

    Source: the concern is from Turning Down the Heat, arXiv 2506.13681; Efron 2014, Estimation
    and accuracy after model selection; Efron 1979, Bootstrap methods: another look at the
    jackknife.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0, 4.0] * 2)
        >>> settings = [Estimate.of_ratio("texts", values + by, np.ones(8)) for by in (0, 9)]
        >>> best_of(settings, 3.0)[0]
        0
    """
    samples = {tuple(each.influence) for each in settings}
    if len(samples) != 1 or len(next(iter(samples))) != 1:
        return None
    if not all(each.is_decided for each in settings):
        return None
    influence = np.column_stack([next(iter(each.influence.values())) for each in settings])
    values = np.array([each.value for each in settings])
    errors = _resampled(len(influence)) @ influence
    noise = float(np.var(errors - errors.mean(axis=1, keepdims=True), axis=0).mean())
    spread = float(np.var(values))
    # Shrink the figures to the variance of the true ones, without the noise.
    shrunk = math.sqrt(max(1 - noise / spread, 0)) if spread else 0.0
    centres = values.mean() + shrunk * (values - values.mean())
    chosen = np.abs(centres + errors - target).argmin(axis=1)
    gained = float(errors[np.arange(len(errors)), chosen].mean())
    index = int(np.abs(values - target).argmin())
    ends = settings[index].interval()
    if ends is None:
        return None
    # A selected figure varies less than a fixed one, especially if many settings are about equally
    # good; but their number is unknown, so the interval keeps its width.
    return index, settings[index].value - gained, [end - gained for end in ends]


@lru_cache(maxsize=2)
def _resampled(units: int) -> NDArray[np.float64]:
    """Return each unit's count in each resampled set, minus 1: (sets, units)."""
    times = np.random.default_rng(SEED).multinomial(units, np.full(units, 1 / units), ROUNDS)
    return np.asarray(times - 1.0, np.float64)


Point = tuple[float, float]


def front(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other point beats in both: first value larger, second smaller.

    Example:
        >>> front([(0.1, 1.0), (0.9, 3.0), (0.5, 4.0)])
        [(0.1, 1.0), (0.9, 3.0)]
    """
    best: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[1], -point[0])):
        if not best or x > best[-1][0]:
            best.append((x, y))
    return best


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
        other: the variance of the sample compared with, if that is not paired, as human text.
        units: the number of independent units that the variances were measured over.
    """

    sampler: str
    parts: VarianceParts
    prompts: int
    other: float = 0.0
    units: int = 0

    @property
    def about_prompts(self) -> bool:
        """True if its intervals are about prompts like these, not only about these prompts."""
        return self.prompts >= MANY

    def of_design(self, design: StudyDesign) -> tuple[float, int]:
        """Return the variance of the difference in a study of this design, and its units."""
        if self.about_prompts:
            parts = self.parts.of_design(design.prompts, design.texts)
            return self.other + parts, design.prompts
        return self.other + self.parts.within / design.cost, design.texts

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
        parts = VarianceParts(between and factor * between, factor * within)
        return replace(self, parts=parts, other=factor * self.other)


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
