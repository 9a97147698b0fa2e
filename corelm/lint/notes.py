"""Note likely mistakes in a chain of samplers, such as an order that can't be meant.

Notes are not errors: every chain is carried out as written. The rules contain no sampler's name.
They use a sampler's attributes (`kind`, `neutral`, `reads`, `is_argmax_invariant`) and the results
of a few calls (`corelm.lint.probing`), so a third-party filter gets the same notes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

from corelm import Chain, Mask, Sampler
from corelm.lint.probing import (
    compares_probabilities,
    differ,
    flattens,
    has_effect,
    leaves_one_token,
    temperature_of,
)

Stages = Sequence[Sampler]


def notes(sampler: Sampler) -> list[str]:
    """Return one sentence for each likely mistake in a sampler; none for most.

    Args:
        sampler: a sampler or a chain. Stages at their neutral values do not count.

    Example:
        >>> import corelm
        >>> corelm.notes(corelm.sampler("temperature(t=0.7) | greedy"))
        ['temperature(t=0.7) changes nothing before greedy, which takes the most likely token \
anyway; leave it out']
    """
    found = dict.fromkeys(_notes(sampler.active_stages))
    for place, inner, whole in _with_nested(sampler.active_stages):
        # A stage outside that a nested sampler makes idle may still act on other rows.
        inside = (*_notes(inner), *_notes_on_order(_changing(whole)))
        found |= dict.fromkeys(f"{place}: {note}" for note in inside if note not in found)
    return [*found]


def _with_nested(stages: Stages) -> Iterator[tuple[str, Stages, Stages]]:
    """Yield each nested sampler: its place, its stages, and the chain with them in that place."""
    for at, stage in enumerate(stages):
        for parameter, nested in stage.nested.items():
            place, inner = f"{_name(stage)} {parameter}", nested.active_stages
            yield place, inner, (*stages[:at], *inner, *stages[at + 1 :])
            for deeper, innermost, whole in _with_nested(inner):
                yield f"{place}, {deeper}", innermost, (*stages[:at], *whole, *stages[at + 1 :])


def _notes(stages: Stages) -> list[str]:
    if len(stages) == 1:
        return [*_filter_without_effect(stages)]
    before = _before_the_last_choice(stages)
    return [
        *_around_the_last_choice(before, stages[len(before) :]),
        *_notes_on_order(_changing(stages)),
        *_filter_without_effect(_changing(stages)),
    ]


def _notes_on_order(stages: Stages) -> list[str]:
    return [note for rule in RULES for note in rule(stages)]


def _before_the_last_choice(stages: Stages) -> Stages:
    """Return the stages before one such as greedy, which leaves one token."""
    return [*takewhile(lambda stage: not leaves_one_token(stage), stages)]


def _changing(stages: Stages) -> Stages:
    """Return the stages that can matter: before the last choice, and not at temperature 1."""
    return [stage for stage in _before_the_last_choice(stages) if temperature_of(stage) != 1]


def _around_the_last_choice(before: Stages, rest: Stages) -> Iterator[str]:
    """Yield notes on stages that do nothing, because a stage such as greedy leaves one token."""
    if not rest:
        return
    last, *later = rest
    after = [stage for stage in later if not isinstance(stage, Mask)]  # a mask is never broken
    if after:
        yield (
            f"{_label(last)} leaves one token, so {_labels(after)} after it can change nothing; "
            f"leave {_it(after)} out"
        )
    idle = [*takewhile(_keeps_the_most_likely, reversed(before))][::-1]
    if idle:
        changes = "changes" if len(idle) == 1 else "change"
        yield (
            f"{_labels(idle)} {changes} nothing before {_label(last)}, which takes the most likely "
            f"token anyway; leave {_it(idle)} out"
        )


def _filter_after_heat(stages: Stages) -> Iterator[str]:
    for i, stage in enumerate(stages):
        after = [late for late in stages[i + 1 :] if late.kind == "filter"]
        if _is_hot(stage) and (misled := [late for late in after if compares_probabilities(late)]):
            yield (
                f"{_label(stage)} flattens the probabilities that {_labels(misled)} after it "
                f"{'compares' if len(misled) == 1 else 'compare'}, so more unlikely tokens stay; "
                "put the temperature last"
            )


def _filter_after_uniform(stages: Stages) -> Iterator[str]:
    for i, stage in enumerate(stages):
        after = [late for late in stages[i + 1 :] if late.kind == "filter"]
        if temperature_of(stage) == math.inf and after:
            yield (
                f"{_label(stage)} makes all tokens equally likely, so {_labels(after)} after it "
                f"can only choose by token id; put {_name(stage)} last"
            )


def _penalty_after_filter(stages: Stages) -> Iterator[str]:
    first = next((i for i, stage in enumerate(stages) if stage.kind == "filter"), len(stages))
    after = [stage for stage in stages[first + 1 :] if stage.kind in ("penalty", "mask")]
    if after:
        yield (
            f"{_labels(after)} after {_label(stages[first])} cannot bring back tokens that the "
            f"filter removed; put {_it(after)} first"
        )


def _filter_without_effect(stages: Stages) -> Iterator[str]:
    for i, late in enumerate(stages):
        if late.kind != "filter":
            continue
        if has_effect(late) is False:
            yield f"{late} never removes a token; change its parameters or leave it out"
        elif early := _makes_idle(stages[:i], late):
            yield f"{_label(late)} never removes a token after {_label(early)}; leave it out"
        elif i and _is_idle_before(stages[i - 1], late):
            early = stages[i - 1]
            yield f"{_label(early)} makes no difference before {_label(late)}; leave it out"


def _makes_idle(before: Stages, late: Sampler) -> Sampler | None:
    """Find the filter after which a filter removes nothing, with any samplers between them."""
    for i, early in enumerate(before):
        # Alone and with the stages between, which may change the rows that reach it.
        prefixes = (early, Chain(tuple(before[i:])))
        if early.kind == "filter" and all(has_effect(late, p) is False for p in prefixes):
            return early
    return None


def _is_idle_before(early: Sampler, late: Sampler) -> bool:
    return early.kind == "filter" and differ(late, early | late) is False


def _change_after_feedback(stages: Stages) -> Iterator[str]:
    for i, stage in enumerate(stages[:-1]):
        after = stages[i + 1 :]
        # By default `reads` has everything, which is no sign of feedback.
        if stage.reads < Sampler.reads and stage.reads & {"surprisal", "model_surprisal"}:
            yield (
                f"{_label(stage)} adapts to the tokens drawn, and {_labels(after)} after it "
                f"{'changes' if len(after) == 1 else 'change'} which are drawn; "
                f"put {_name(stage)} last"
            )


RULES: tuple[Callable[[Stages], Iterator[str]], ...] = (
    _filter_after_heat,
    _filter_after_uniform,
    _penalty_after_filter,
    _change_after_feedback,
)
"""The rules on the order of two stages."""


def _keeps_the_most_likely(stage: Sampler) -> bool:
    return stage.is_argmax_invariant and temperature_of(stage) != math.inf


def _is_hot(stage: Sampler) -> bool:
    if stage.kind != "temperature":
        return False
    t = temperature_of(stage)
    return flattens(stage) if t is None else 1 < t < math.inf


def _label(stage: Sampler) -> str:
    """Return the name of a stage, with the numbers that switch it on for all but penalties."""
    numbers = {name: getattr(stage, name) for name in stage.neutral}
    if stage.kind in ("penalty", "mask") or not numbers:
        return _name(stage)
    shown = (f"{k}={v:g}" if isinstance(v, float) else f"{k}={v!r}" for k, v in numbers.items())
    return f"{_name(stage)}({', '.join(shown)})"


def _name(stage: Sampler) -> str:
    """Return the name of a stage without the distribution in front of it."""
    return stage.name.rpartition(":")[2]


def _labels(stages: Stages) -> str:
    *most, last = map(_label, stages)
    return f"{', '.join(most)} and {last}" if most else last


def _it(stages: Stages) -> str:
    return "it" if len(stages) == 1 else "them"
