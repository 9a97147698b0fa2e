"""Entropy matching: parameter values that give a target mean entropy on the same contexts.

Samplers then compare at equal randomness. The entropy that must match is the mean over all
positions, but the search runs on a part of them, which is cheaper. The error of the value found,
measured on all positions, shifts the target of the next search, until all positions agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from itertools import pairwise

from corelm.errors import UnreachableError
from corelm.language_model import LanguageModel
from corelm.numerics.distributions import min_and_shannon_entropy, surprisals
from corelm.plugins.expressions import built_in
from corelm.report.measure.contexts import Contexts
from corelm.report.measure.divergence import nan_if_impossible
from corelm.report.measure.free_parameter import FreeParameter
from corelm.report.measure.teacher_forcing import Group, Position, Reader, groups, read
from corelm.sampler import Sampler

TOLERANCE = 0.01
"""The error in nats up to which a value is accepted."""

CLOSE = 0.002
"""The error in nats below which the search stops."""

PART = 400
"""The number of positions on which the search runs."""

KEPT = 2**26
"""The number of logits kept in memory; with more, the model reads the texts again each time."""

CORRECTIONS = 6
HALVINGS = 40

Mean = Callable[[float], float]
"""From a value of the parameter to the mean entropy in nats."""


class Matcher:
    """A search for parameter values that give a target mean entropy on some contexts.

    Args:
        model: the language model.
        contexts: all positions of the report.
    """

    def __init__(self, model: LanguageModel, contexts: Contexts) -> None:
        part = _part(contexts)
        self._whole = _Positions(model, contexts)
        self._part = self._whole if part is contexts else _Positions(model, part)

    def model_entropy(self) -> float:
        """Return the mean entropy of the model's own distributions, in nats."""
        return self._whole.mean_entropy(built_in("stochastic"))

    def match(self, expression: str, target: float) -> Sampler:
        """Return the sampler whose mean entropy is within 0.01 nats of the target.

        Args:
            expression: a sampler that leaves one number open: the bare name of a sampler with one
                such parameter, such as `top_p`, or an expression that gives all but one, such as
                `mirostat(eta=0.1)` or `top_k(k=50) | temperature`.
            target: in nats.

        Raises:
            UnreachableError: no value gives the target; the message has the range of entropies.
            UsageError: the expression leaves no number open, or several.
            SamplerError: the sampler failed.

        Example:
            >>> from corelm.report.measure.contexts import human_contexts
            >>> from corelm.testing import ToyModel
            >>> texts = human_contexts(ToyModel(), ["the cat sat on the mat"], "a fable")
            >>> Matcher(ToyModel(), texts).match("temperature", 0.5)
            Temperature(t=0.344)
        """
        free = FreeParameter.of(expression)
        part = cache(lambda value: self._part.mean_entropy(free.at(value)))
        whole = cache(lambda value: self._whole.mean_entropy(free.at(value)))
        aim, found = target, dict[float, float]()
        for _ in range(CORRECTIONS):
            value = _solve(part, free, aim)
            if value in found:  # the search has come back: it would only repeat itself
                break
            found[value] = whole(value)
            if abs(found[value] - target) <= CLOSE:
                break
            # The part differs from the whole by about as much at the next value as at this one.
            aim = part(value) + target - found[value]
        nearest = min(found, key=lambda value: abs(found[value] - target))
        if not abs(found[nearest] - target) <= TOLERANCE:  # refuses nan too
            raise _unreachable(free, target, part, whole, nearest)
        return free.at(nearest)


def _unreachable(
    free: FreeParameter, target: float, part: Mean, whole: Mean, nearest: float
) -> UnreachableError:
    values = [*free.values(), nearest]
    low, high = (whole(end(values, key=part)) for end in (min, max))
    return UnreachableError(
        f"no {free.parameter.name} gives {free.expression} a mean entropy of {target:.4g} nats: "
        f"on these contexts it ranges from {low:.3f} to {high:.3f}, and {free.at(nearest)} comes "
        f"closest with {whole(nearest):.3f}"
    )


def _solve(mean: Mean, free: FreeParameter, aim: float) -> float:
    """Return the value closest to a mean entropy, rounded as far as that costs nothing."""
    values = free.values()
    between = _around(mean, free, values, aim)
    if between is None:  # out of reach; the caller reports the nearest
        return min(values, key=lambda value: abs(mean(value) - aim))
    (a, b), tried = between, [*between]
    # A line through both ends meets the aim quickly, but where the mean jumps it may crawl: every
    # other turn halves the interval.
    for turn in range(HALVINGS):
        value = free.between(a, b, _share(mean(a), mean(b), aim) if turn % 2 else 0.5)
        if value is None:
            break
        tried.append(value)
        if abs(mean(value) - aim) <= CLOSE / 4:
            break
        a, b = (value, b) if _opposite(mean, value, b, aim) else (a, value)
    # Prefer 0.7 to 0.7003814: a value that people can type, where it costs nothing.
    best = min(tried, key=lambda value: abs(mean(value) - aim))
    short = (value for value in free.rounded(best) if abs(mean(value) - aim) <= CLOSE / 2)
    return next(short, best)


def _around(
    mean: Mean, free: FreeParameter, values: list[float], aim: float
) -> tuple[float, float] | None:
    """Return two neighbouring values with the aim between their entropies, or None."""
    low, high = 0, len(values) - 1
    if _opposite(mean, values[low], values[high], aim):
        while high - low > 1:
            middle = (low + high) // 2
            if _opposite(mean, values[low], values[middle], aim):
                high = middle
            else:
                low = middle
        return values[low], values[high]
    # Both ends lie on one side: the mean falls and rises, or jumps where a filter switches off.
    for a, b in pairwise(values):
        if _opposite(mean, a, b, aim) and free.between(a, b, 0.5) is not None:
            return a, b
    return None


def _opposite(mean: Mean, a: float, b: float, aim: float) -> bool:
    """Tell if the aim lies between the entropies of two values, or is one of them."""
    return (mean(a) - aim) * (mean(b) - aim) <= 0


def _share(at_a: float, at_b: float, aim: float) -> float:
    """The share of the way from a to b at which a straight line meets the aim.

    It stays off both ends, so that every step shortens the interval. Every other step halves it
    instead, which bounds the number of steps where the line is a bad guess.
    """
    return min(max((aim - at_a) / (at_b - at_a), 0.05), 0.95) if at_a != at_b else 0.5


def _part(contexts: Contexts) -> Contexts:
    """Return enough texts, spread evenly; the contexts themselves if all of them are needed."""
    texts = len(contexts.texts)
    count = -(-PART * texts // contexts.positions)
    if count >= texts:
        return contexts
    return contexts.some([i * texts // count for i in range(count)])


class _Positions:
    """The mean entropy of samplers on some contexts; the model reads them once if that fits."""

    def __init__(self, model: LanguageModel, contexts: Contexts) -> None:
        self._model = model
        self._contexts = contexts

    def mean_entropy(self, sampler: Sampler) -> float:
        """Return the mean entropy over all positions, in nats."""
        total = 0.0
        for group, positions in self._kept or self._read():
            reader = Reader(sampler, group)
            for position in positions:
                logits = reader.logits(position)
                total += float(min_and_shannon_entropy(logits)[1].sum())
                reader.store(position, nan_if_impossible(surprisals(logits, position.tokens)))
        return total / self._contexts.positions

    @cached_property
    def _kept(self) -> list[tuple[Group, list[Position]]]:
        """All distributions of the model; empty if they are too many to keep."""
        if self._contexts.positions * len(self._model.vocabulary) > KEPT:
            return []
        return [(group, list(positions)) for group, positions in self._read()]

    def _read(self) -> Iterator[tuple[Group, Iterable[Position]]]:
        texts = range(len(self._contexts.texts))
        for group in groups(self._model, self._contexts, texts):
            yield group, read(self._model, group)
