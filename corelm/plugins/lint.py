"""What is likely a mistake in a chain of samplers, in words.

It knows the built-in samplers by their names and the rest not at all. Nothing that it says is an
error: every chain does exactly what it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from corelm.sampler import Sampler

FILTERS: Mapping[str, tuple[str, Any]] = {
    "epsilon": ("epsilon", 0),
    "eta": ("epsilon", 0),
    "min_p": ("p", 0),
    "mirostat": ("tau", math.inf),
    "top_h": ("h", 1),
    "top_k": ("k", 0),
    "top_n_sigma": ("n", math.inf),
    "top_p": ("p", 1),
    "typical": ("p", 1),
    "xtc": ("probability", 0),
}
"""The filters: the parameter of each that decides, and its value that switches the filter off."""

PENALTIES: Mapping[str, tuple[str, Any]] = {
    "ban": ("words", ()),
    "dry": ("multiplier", 0),
    "frequency_penalty": ("penalty", 0),
    "logit_bias": ("bias", {}),
    "min_length": ("n", 0),
    "no_repeat_ngram": ("n", 0),
    "presence_penalty": ("penalty", 0),
    "repetition_penalty": ("penalty", 1),
}
"""What lowers tokens by name or by the past, likewise."""

OTHERS: Mapping[str, tuple[str, Any]] = {
    "adaptive_p": ("target", -1),
    "dynamic_temperature": ("t_max", None),
    "quadratic": ("factor", 0),
    "temperature": ("t", 1),
}

DECIDING = {**FILTERS, **PENALTIES, **OTHERS}
LEAVES_ONE = {"temperature": 0, "top_k": 1, "top_p": 0}
"""The values at which one token is left."""

KEEPS_ORDER = {"dynamic_temperature", "temperature", *FILTERS} - {"typical", "xtc"}
"""What leaves the likeliest token the likeliest."""

JUDGES_PROBABILITY = {"epsilon", "eta", "min_p", "top_h", "top_p", "typical"}
"""The filters that see a temperature: the others look at ranks, or at logits and their spread."""

STEERS = {"adaptive_p", "mirostat"}
"""What follows the tokens that were drawn."""


def notes(sampler: Sampler) -> list[str]:
    """One sentence for each likely mistake in a sampler; none for most.

    Args:
        sampler: a sampler or a chain. Stages at their neutral values do not count.

    Example:
        >>> import corelm
        >>> notes(corelm.sampler("temperature(t=0.7) | greedy"))
        ['temperature(t=0.7) changes nothing before greedy, which takes the likeliest token in any \
case; leave it out']
    """
    stages = [stage for stage in sampler.stages if _acts(stage)]
    before = list(takewhile(lambda stage: not _leaves_one(stage), stages))
    found: list[str] = []
    if len(before) < len(stages):
        one, after = stages[len(before)], stages[len(before) + 1 :]
        found += [*_nothing_left(one, after), *_nothing_to_change(before, one)]
    changing = [stage for stage in before if _name(stage) != "stochastic"]
    for rule in RULES:
        found += rule(changing)
    return found


def _nothing_left(one: Sampler, after: Sequence[Sampler]) -> Iterator[str]:
    if after:
        yield (
            f"{_shown(one)} leaves one token, so {_listed(after)} after it can change nothing; "
            f"leave {_it(after)} out"
        )


def _nothing_to_change(before: Sequence[Sampler], one: Sampler) -> Iterator[str]:
    idle = list(takewhile(lambda stage: _name(stage) in KEEPS_ORDER, reversed(before)))[::-1]
    if idle:
        changes = "changes" if len(idle) == 1 else "change"
        yield (
            f"{_listed(idle)} {changes} nothing before {_shown(one)}, which takes the likeliest "
            f"token in any case; leave {_it(idle)} out"
        )


def _filter_after_heat(stages: Sequence[Sampler]) -> Iterator[str]:
    for i, hot in enumerate(stages):
        after = [stage for stage in stages[i + 1 :] if _name(stage) in JUDGES_PROBABILITY]
        if _flattens(hot) and after:
            yield (
                f"{_shown(hot)} comes before {_listed(after)}, which then judges flattened "
                "probabilities and keeps more unlikely tokens; put the temperature last"
            )


def _filter_after_uniform(stages: Sequence[Sampler]) -> Iterator[str]:
    for i, stage in enumerate(stages):
        after = [later for later in stages[i + 1 :] if _name(later) in FILTERS]
        if _name(stage) == "uniform" and after:
            yield (
                f"uniform makes all tokens equally likely, so {_listed(after)} after it can choose "
                "by their ids alone; put uniform last"
            )


def _penalty_after_filter(stages: Sequence[Sampler]) -> Iterator[str]:
    first = next((i for i, stage in enumerate(stages) if _name(stage) in FILTERS), len(stages))
    after = [stage for stage in stages[first + 1 :] if _name(stage) in PENALTIES]
    if after:
        yield (
            f"{_listed(after)} after {_shown(stages[first])} cannot bring back what the filter "
            f"removed; put {_it(after)} first"
        )


def _never_acts(stages: Sequence[Sampler]) -> Iterator[str]:
    for i, early in enumerate(stages):
        for j, late in enumerate(stages[i + 1 :], i + 1):
            reshaped = any(_name(stage) not in FILTERS for stage in stages[i + 1 : j])
            if _makes_idle(early, late, reshaped):
                yield f"{_shown(late)} can never act after {_shown(early)}; leave it out"
            elif j == i + 1 and _is_stricter(late, early):
                yield f"{_shown(early)} can never act before {_shown(late)}; leave it out"


def _impossible_threshold(stages: Sequence[Sampler]) -> Iterator[str]:
    for stage in stages:
        if _name(stage) == "xtc" and getattr(stage, "threshold", 0) > 0.5:
            yield (
                "xtc can never act with a threshold above 0.5, since no two tokens are both that "
                "likely; 0.1 is usual"
            )


def _makes_idle(early: Sampler, late: Sampler, reshaped: bool) -> bool:
    """Whether the earlier filter leaves nothing that the later one could remove.

    Only what holds whatever filters stand between them: the number of tokens never grows; the
    shares of those that are left, and their ratios to the likeliest, never fall, unless something
    between reshapes the distribution.
    """
    names, a, b = (_name(early), _name(late)), _value(early), _value(late)
    if names == ("top_k", "top_k"):
        return bool(b >= a)
    if names == ("epsilon", "top_k"):  # at most 1 / epsilon tokens have that probability
        return bool(a * b >= 1)
    same = names in (("min_p", "min_p"), ("epsilon", "epsilon"), ("epsilon", "eta"))
    return same and not reshaped and bool(b <= a)


def _is_stricter(late: Sampler, early: Sampler) -> bool:
    """Whether a filter removes all that the same filter with another value has removed."""
    name, a, b = _name(early), _value(early), _value(late)
    return name == _name(late) and bool((name == "top_k" and b < a) or (name == "min_p" and b > a))


def _misled(stages: Sequence[Sampler]) -> Iterator[str]:
    for i, stage in enumerate(stages[:-1]):
        if _name(stage) in STEERS:
            after = stages[i + 1 :]
            yield (
                f"{_shown(stage)} follows what is drawn, and {_listed(after)} after it changes "
                f"that; put {_name(stage)} last"
            )


RULES: tuple[Callable[[Sequence[Sampler]], Iterator[str]], ...] = (
    _filter_after_heat,
    _filter_after_uniform,
    _penalty_after_filter,
    _never_acts,
    _impossible_threshold,
    _misled,
)


def _name(stage: Sampler) -> str:
    """The name without the plugin that it may be found in."""
    return stage.name.rpartition(":")[2]


def _value(stage: Sampler) -> Any:
    """The value of the parameter that decides; None for a stage that is not known."""
    parameter, _ = DECIDING.get(_name(stage), ("", None))
    return getattr(stage, parameter, None)


def _acts(stage: Sampler) -> bool:
    """Whether a stage is not at its neutral value, as far as is known."""
    value = _value(stage)
    return value is None or value != DECIDING[_name(stage)][1]


def _leaves_one(stage: Sampler) -> bool:
    return _name(stage) == "greedy" or _value(stage) == LEAVES_ONE.get(_name(stage), math.nan)


def _flattens(stage: Sampler) -> bool:
    return "temperature" in _name(stage) and (_value(stage) or 0) > 1


def _shown(stage: Sampler) -> str:
    """A stage in short: its name, and the parameter that decides where that is a number."""
    value = _value(stage)
    if _name(stage) in PENALTIES or not isinstance(value, (int, float)):
        return _name(stage)
    return f"{_name(stage)}({DECIDING[_name(stage)][0]}={value:g})"


def _listed(stages: Sequence[Sampler]) -> str:
    *most, last = map(_shown, stages)
    return f"{', '.join(most)} and {last}" if most else last


def _it(stages: Sequence[Sampler]) -> str:
    return "it" if len(stages) == 1 else "them"
