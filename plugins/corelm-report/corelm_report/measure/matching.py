"""Matching: find parameter values that give a figure a target value on the same contexts.

Samplers then compare at equal entropy, or at equal recall of human words. The figure that must
match is the mean over all positions, but the search runs on a part of them, which is cheaper. The
error of the value found, measured on all positions, shifts the target of the next search, until
all positions agree.

Matched on a sample of contexts, samplers differ a little in entropy on others, which accounts for a
part of the difference between their texts. Its size is the paired difference of the entropies times
the change of surprisal with entropy along the temperature curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import LanguageModel, Sampler
from corelm.errors import UnreachableError
from corelm.runs import Expression, ModelRows
from corelm_report.document.content import Difference, SamplerEntry
from corelm_report.document.figures import NATS, SURPRISAL
from corelm_report.document.lookup import MATCHED
from corelm_report.document.parts import Curve
from corelm_report.measure.contexts import (
    ContextGroup,
    ContextPosition,
    Contexts,
    SamplerReader,
    groups,
    read,
)
from corelm_report.measure.entries import Measured
from corelm_report.measure.journal import attempted
from corelm_report.plan.targets import FreeParameter, precision
from corelm_report.plan.texts import OF_HUMAN_WORDS
from corelm_stats.intervals import total

PART, PART_OF_WORDS = 400, 4000
"""The number of positions on which the search runs: more for recall, which moves in steps of one
word.
"""

KEPT = 2**26
"""The most logits kept in memory; if there are more, the model reads the texts again each time."""

CORRECTIONS = 6
"""The most searches on a part; each corrects its aim by the error of the one before."""
HALVINGS = 40
"""The largest number of values that one search tries."""

_PositionAndModel = tuple[ContextPosition, ModelRows]
Mean = Callable[[float], float]
"""A function from a value of the parameter to the mean of the figure."""


class Matcher:
    """A search for parameter values that give a figure a target value on some contexts.

    All units of a report share one, which keeps the model's logits at its positions.

    Args:
        contexts: all positions of the report.
    """

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._positions: dict[int, _Positions] = {}

    # The logits are too large to send, so each worker reads its own.
    def __reduce__(self) -> tuple[type[Matcher], tuple[Contexts]]:
        return Matcher, (self._contexts,)

    def model_entropy(self, model: LanguageModel) -> float:
        """Return the mean entropy of the model's own distributions, in nats."""
        whole = self._some(model, self._contexts.positions)
        return whole.mean(Expression.built_in("stochastic"), "entropy")

    def match(
        self,
        model: LanguageModel,
        expression: str,
        figure: str,
        target: float,
        of_words: bool = False,
    ) -> Sampler:
        """Return the sampler whose figure is close to the target, for example within 0.01 nats.

        Args:
            model: the language model, the same one at every call.
            expression: a sampler that leaves one number open: the bare name of a sampler with one
                such parameter, such as `top_p`, or an expression that gives all but one, such as
                `mirostat(eta=0.1)` or `top_k(k=50) | temperature`.
            figure: a key of `MATCHED`.
            target: the value to match.
            of_words: True to average at the positions of human words that the model can draw
                alone, as the human figure does; by default at all positions, as a report does.

        Raises:
            UnreachableError: no value gives the target; the message has the range of the figure.
            UsageError: the expression leaves several numbers open.
            SamplerError: the sampler failed.

        Example:
            >>> from corelm_report.measure.contexts import human_contexts
            >>> from corelm.testing import ToyModel
            >>> texts = human_contexts(ToyModel(), ["the cat sat on the mat"], "a fable")
            >>> Matcher(texts).match(ToyModel(), "temperature", "entropy", 0.5)
            Temperature(t=0.344)
        """
        free = FreeParameter.of(expression)
        assert free is not None, "candidates without an open parameter are not matched"
        positions, wanted = self._contexts.positions, PART
        if figure in OF_HUMAN_WORDS:
            # At most as many as fit in memory, or the model would read the texts again at each
            # value.
            wanted = max(PART, min(PART_OF_WORDS, KEPT // len(model.vocabulary)))
        some, every = self._some(model, wanted), self._some(model, positions)
        part = cache(lambda value: some.mean(free.at(value), figure, of_words))
        whole = cache(lambda value: every.mean(free.at(value), figure, of_words))
        tolerance, close = precision(figure, target, positions)
        aim, means = target, dict[float, float]()
        for _ in range(CORRECTIONS):
            value = _solve(part, free, aim, close)
            # The search has returned to an earlier value and would repeat itself.
            if value in means:
                break
            means[value] = whole(value)
            if abs(means[value] - target) <= close:
                break
            # At the next value, the part differs from the whole by about the same amount.
            aim = part(value) + target - means[value]
        nearest = min(means, key=lambda value: abs(means[value] - target))
        if not abs(means[nearest] - target) <= tolerance:  # true for nan too
            raise UnreachableError(_unreachable(free, figure, target, part, whole, nearest))
        return free.at(nearest)

    def _some(self, model: LanguageModel, positions: int) -> _Positions:
        """Return texts with this number of positions, spread over all of them."""
        texts = len(self._contexts.texts)
        count = min(-(-positions * texts // self._contexts.positions), texts)
        spread = self._contexts.some([i * texts // count for i in range(count)])
        return self._positions.setdefault(count, _Positions(model, spread))


def _unreachable(
    free: FreeParameter, figure: str, target: float, part: Mean, whole: Mean, nearest: float
) -> str:
    values = [*free.values(), nearest]
    low, high = (whole(end(values, key=part)) for end in (min, max))
    words, unit = MATCHED[figure].matched, MATCHED[figure].unit
    nats = f" {unit}" if unit.startswith(NATS) else ""
    return (
        f"no {free.parameter.name} gives {free.expression} a {words} of {target:.4g}{nats}: on "
        f"these contexts it ranges from {low:.3f} to {high:.3f}, and {free.at(nearest)} comes "
        f"closest with {whole(nearest):.3f}"
    )


def _solve(mean: Mean, free: FreeParameter, aim: float, close: float) -> float:
    """Return the value with the mean closest to the aim, rounded if that costs nothing."""
    values = free.values()
    between = _around(mean, free, values, aim)
    if between is None:  # the aim is out of reach; the caller reports the nearest value
        return min(values, key=lambda value: abs(mean(value) - aim))
    (a, b), tried = between, [*between]
    # A line through both ends finds the aim quickly, but is slow if the mean jumps, so every other
    # step halves the interval.
    for turn in range(HALVINGS):
        value = free.between(a, b, _share(mean(a), mean(b), aim) if turn % 2 else 0.5)
        if value is None:
            break
        tried.append(value)
        if abs(mean(value) - aim) <= close / 4:
            break
        a, b = (value, b) if _brackets(mean, value, b, aim) else (a, value)
    # Prefer a value that is easy to type, such as 0.7 to 0.7003814, if it costs nothing.
    best = min(tried, key=lambda value: abs(mean(value) - aim))
    # A figure that moves in steps, such as recall, may never come closer than the best so far.
    good = max(close / 2, abs(mean(best) - aim))
    short = (value for value in free.rounded(best) if abs(mean(value) - aim) <= good)
    return next(short, best)


def _around(
    mean: Mean, free: FreeParameter, values: list[float], aim: float
) -> tuple[float, float] | None:
    """Return two neighbouring values with the aim between their means, or None."""
    low, high = 0, len(values) - 1
    if _brackets(mean, values[low], values[high], aim):
        while high - low > 1:
            middle = (low + high) // 2
            if _brackets(mean, values[low], values[middle], aim):
                high = middle
            else:
                low = middle
        return values[low], values[high]
    # Both ends are on one side: the mean falls and rises, or jumps where a filter switches off.
    for a, b in pairwise(values):
        if _brackets(mean, a, b, aim) and free.between(a, b, 0.5) is not None:
            return a, b
    return None


def _brackets(mean: Mean, a: float, b: float, aim: float) -> bool:
    """Return True if the target lies between the means of the two values."""
    return (mean(a) - aim) * (mean(b) - aim) <= 0


def _share(at_a: float, at_b: float, aim: float) -> float:
    """Return how far from a (0) to b (1) a straight line reaches the aim.

    It avoids both ends, so that every step shortens the interval. Every other step halves it
    instead, which bounds the number of steps if the line is a bad guess.
    """
    return min(max((aim - at_a) / (at_b - at_a), 0.05), 0.95) if at_a != at_b else 0.5


@dataclass(frozen=True, eq=False)
class _Positions:
    """The mean of a figure over the contexts, whose logits are kept if they fit in memory."""

    model: LanguageModel
    contexts: Contexts

    def mean(self, sampler: Sampler, figure: str, of_words: bool = False) -> float:
        """Return the mean of a figure over all positions, or over words that can be drawn.

        nan if no position has the figure.
        """
        total, count = 0.0, 0
        for group, positions in self._in_memory or self._read():
            reader = SamplerReader(sampler, group)
            for position, rows in positions:
                values = _values(reader, figure, group, position, rows)
                if of_words:
                    values = values[_can_be_drawn(group, position)]
                values = values[~np.isnan(values)]
                total, count = total + float(values.sum()), count + len(values)
        return total / count if count else math.nan

    @cached_property
    def _in_memory(self) -> list[tuple[ContextGroup, list[_PositionAndModel]]]:
        """All distributions of the model; empty if there are too many to keep."""
        if self.contexts.positions * len(self.model.vocabulary) > KEPT:
            return []
        return [(group, list(positions)) for group, positions in self._read()]

    def _read(self) -> Iterator[tuple[ContextGroup, Iterable[_PositionAndModel]]]:
        ends = self.model.vocabulary.ends
        for group in groups(self.model, self.contexts):
            read_positions = read(self.model, group)
            yield (
                group,
                ((each, ModelRows(each.logits, ends)) for each in read_positions),
            )


def _values(
    reader: SamplerReader,
    figure: str,
    group: ContextGroup,
    position: ContextPosition,
    rows: ModelRows,
) -> NDArray[np.float64]:
    """Return the figure of a sampler at a position for each text; nan where it is undefined."""
    if figure == "entropy":
        return reader.entropies(position)
    compared = reader.compare(position, rows)
    if figure in ModelRows.names:
        column: NDArray[np.float64] = compared.figures[:, ModelRows.names.index(figure)]
        return column
    # As in the report, words that the model itself cannot draw do not count.
    drawn: NDArray[np.float64] = compared.surprisal[_can_be_drawn(group, position)]
    possible = ~np.isnan(drawn)
    return possible.astype(np.float64) if figure == "human_recall" else drawn[possible]


def _can_be_drawn(group: ContextGroup, position: ContextPosition) -> NDArray[np.bool_]:
    """Return True for texts whose next word the model can draw: (rows,)."""
    return ~np.isnan(group.model_surprisal[position.rows, position.time])


@dataclass(frozen=True)
class ModelEntropy:
    """Measure the mean entropy of the model's own distributions on the contexts."""

    matcher: Matcher
    name: str = "entropy of the model"

    def __call__(self, model: LanguageModel) -> dict[str, float]:
        return {"mean": self.matcher.model_entropy(model)}


@dataclass(frozen=True)
class Match:
    """Match the parameter that an expression leaves open; the result is a complete expression."""

    expression: str
    figure: str
    target: float
    matcher: Matcher
    of_words: bool = False

    @property
    def name(self) -> str:
        """The name in the journal."""
        return f"match {self.expression} {self.figure} {self.target!r}"

    def __call__(self, model: LanguageModel) -> dict[str, Any]:
        asked = self.expression, self.figure, self.target, self.of_words
        return attempted(lambda: str(self.matcher.match(model, *asked)))


def surprisal_per_nat(curve: Curve, entropy: float) -> float | None:
    """Return the slope of expected surprisal against entropy, at an entropy of the curve.

    None if the curve does not reach this entropy.

    Example:
        >>> curve = Curve(t=[1, 2], entropy=[1.0, 3.0], slope=[2, 2], surprisal=[1.0, 2.0])
        >>> surprisal_per_nat(curve, 2.0)
        0.5
    """
    at, nats = np.array(curve.entropy), np.array(curve.surprisal)
    i = int(np.searchsorted(at, entropy))
    if not 0 < i < len(at) or at[i] <= at[i - 1]:
        return None
    return float((nats[i] - nats[i - 1]) / (at[i] - at[i - 1]))


def with_match_error(
    entries: list[SamplerEntry], measured: dict[str, Measured], curve: Curve
) -> None:
    """Widen the intervals of surprisal differences between samplers matched to one entropy."""
    named = {entry.sampler: entry for entry in entries}
    for entry in entries:
        against = entry.differences and named.get(entry.differences.against)
        first, second = entry.matched, against.matched if against else None
        if not entry.differences or not against or first is None or second is None:
            continue
        difference = entry.differences.generated_texts.get(SURPRISAL)
        alike = first.figure == second.figure == "entropy" and first.target == second.target
        if alike and difference is not None and difference.ci95 is not None:
            own, other = measured[entry.sampler], measured[against.sampler]
            entry.differences.generated_texts[SURPRISAL] = _widened(
                difference, own, other, surprisal_per_nat(curve, first.target)
            )


def _widened(
    difference: Difference, own: Measured, other: Measured, slope: float | None
) -> Difference:
    mine, theirs = (each.inference.estimate(total(each.record["entropy"])) for each in (own, other))
    texts, others = own.texts.estimate(SURPRISAL), other.texts.estimate(SURPRISAL)
    if slope is None or not (mine and theirs and texts and others):
        return difference
    # The contexts and the texts have random numbers of their own, so their errors are independent.
    noise = slope**2 * (mine - theirs).variance
    apart = (texts - others).with_noise(0.0 if np.isnan(noise) else noise)
    return replace(difference, ci95=apart.interval(), p=apart.p_value(), units=apart.units)
