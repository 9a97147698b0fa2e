"""Change from one sampler to another as a text grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from corelm_samplers.stochastic import Stochastic

from corelm import Array, Chain, Context, Sampler, Switch, hookimpl, log_softmax, param, renamed
from corelm.filters import array_namespace

SHAPES: Mapping[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "cosine": lambda x: (1 - math.cos(math.pi * x)) / 2,
    "step": lambda x: 0.0,
}
"""The weight of the last sampler after a share of the way; it is 1 at the end."""


class Schedule(Switch):
    """Go from a first sampler to a last one over a number of drawn tokens.

    At token i the last sampler has the weight w = shape(i / over): linear is i / over itself,
    cosine (1 - cos(pi i / over)) / 2, and step 0. From token `over` on w is 1, and only the last
    sampler acts. If the two are the same samplers in the same order, and differ in numbers only,
    each number goes from the one to the other: (1 - w) first + w last, rounded for an integer.
    Otherwise the result is the mixture of their distributions with the weights 1 - w and w.

    Related: phase, dynamic_temperature.

    Example:
        >>> import corelm
        >>> cooling = Schedule(first="temperature(t=1.5)", last="temperature(t=0.5)", over=10)
        >>> context = corelm.Context.of([[3, 4, 5, 6, 7]], prompt_length=0)
        >>> [str(acts) for acts in cooling.choose(context)]
        ['temperature(t=1.0)']
    """

    neutral = {"first": Stochastic(), "last": Stochastic()}
    example = {"first": "temperature(t=1.5)", "last": "temperature(t=0.5)"}
    reads = frozenset({"position"})
    is_argmax_invariant = True

    first: Sampler = param(Stochastic(), "acts on the first token")
    last: Sampler = param(Stochastic(), "acts from the end of the schedule on")
    over: int = param(100, "how many drawn tokens it takes", ge=1)
    shape: str = param("linear", "how the last one comes in", choices=tuple(SHAPES))

    def choose(self, context: Context) -> Sequence[Sampler]:
        return [self._at(context.position)] * context.batch

    def _at(self, step: int) -> Sampler:
        w = SHAPES[self.shape](step / self.over) if step < self.over else 1.0
        if w in (0, 1):  # the sampler itself keeps its name and its neutral values
            return self.last if w else self.first
        return _between(self.first, self.last, w) or Mixture(self.first, self.last, w)


class Mixture(Sampler):
    """Mix the distributions of two samplers, each as a chain, which skips neutral stages."""

    is_argmax_invariant = True

    first: Sampler = param(Stochastic(), "has the weight 1 - w")
    last: Sampler = param(Stochastic(), "has the weight w")
    w: float = param(0.5, "the weight of the last one", gt=0, lt=1)

    def __call__(self, logits: Array, context: Context) -> Array:
        first = log_softmax(Chain(self.first.stages)(logits, context)) + math.log1p(-self.w)
        last = log_softmax(Chain(self.last.stages)(logits, context)) + math.log(self.w)
        return array_namespace(logits).logaddexp(first, last)


def _between(first: Sampler, last: Sampler, w: float) -> Sampler | None:
    """Return the sampler with numbers between two samplers'; None if more than numbers differ."""
    # One temperature in between is a stage like any other; a mixture would need both samplers.
    if len(first.stages) != len(last.stages):
        return None
    stages = [_stage(*pair, w) for pair in zip(first.stages, last.stages, strict=True)]
    between = [stage for stage in stages if stage is not None]
    if len(between) < len(stages):
        return None
    return between[0] if len(between) == 1 else Chain(tuple(between))


def _stage(first: Sampler, last: Sampler, w: float) -> Sampler | None:
    if type(first) is not type(last):
        return None
    values: dict[str, Any] = {}
    for p in first.parameters():
        a, b = getattr(first, p.name), getattr(last, p.name)
        if a == b:  # also if nothing lies in between, such as for two equal lists
            continue
        if p.is_nested:
            values[p.name] = _between(a, b, w)
        elif p.type in (int, float) and math.isfinite(a) and math.isfinite(b):
            value = a + w * (b - a)
            values[p.name] = round(value) if p.type is int else value
        else:
            return None
    if None in values.values():
        return None
    return renamed(replace(first, **values), first.name)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"schedule": Schedule}
