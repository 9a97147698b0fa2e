"""Note likely mistakes in a chain of samplers, such as an order that can't be meant.

Notes are not errors: every chain is carried out as written. The rules contain no sampler's name.
They use a sampler's attributes (`kind`, `neutral`, `reads`, `is_argmax_invariant`) and its effect
on rows of logits made for the purpose, so a third-party filter gets the same notes, and its author
need not declare what the arithmetic already shows.

A sampler that reads the context is not probed. A sampler that does not declare what it reads is
called with two contexts, to see if they matter. A sampler that reads the vocabulary is called
without one, as by `corelm.sampling_distribution`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import takewhile

import numpy as np

from corelm.contracts.sampling import Chain, Mask, Sampler
from corelm.numerics.distributions import Array, entropy, softmax
from corelm.registry.expressions import sampler as read_sampler
from corelm.registry.strategies import Strategy, result_on

Stages = Sequence[Sampler]


def lint(sampler: Sampler | str) -> list[str]:
    """Return one sentence for each likely mistake in a sampler; none for most.

    Args:
        sampler: a sampler, a registered name or an expression. Stages at their neutral values do
            not count.

    Example:
        >>> import corelm
        >>> corelm.lint("temperature(t=0.7) | greedy")
        ['temperature(t=0.7) changes nothing before greedy, which takes the most likely token \
anyway; leave it out']
    """
    stages = read_sampler(sampler).active_stages
    notes = dict.fromkeys(_notes(stages))
    for place, inner, whole in _with_nested(stages):
        # A stage outside that a nested sampler makes idle may still act on other rows.
        inside = (*_notes(inner), *_notes_on_order(_changing(whole)))
        notes |= dict.fromkeys(f"{place}: {note}" for note in inside if note not in notes)
    return [*notes]


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
    """Return the stages before the first one that leaves one token, such as greedy."""
    return [*takewhile(lambda stage: not leaves_one_token(stage), stages)]


def _changing(stages: Stages) -> Stages:
    """Return the stages that can matter: before the last choice, and not at temperature 1."""
    return [stage for stage in _before_the_last_choice(stages) if Strategy(stage).temperature != 1]


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


def _filter_after_temperature(stages: Stages) -> Iterator[str]:
    for i, stage in enumerate(stages):
        after = [late for late in stages[i + 1 :] if late.kind == "filter"]
        if _is_hot(stage) and (misled := [late for late in after if compares_probabilities(late)]):
            yield (
                f"{_label(stage)} flattens the probabilities that {_labels(misled)} after it "
                f"{'compares' if len(misled) == 1 else 'compare'}, so more unlikely tokens stay; "
                "put the temperature last"
            )
        if Strategy(stage).temperature == math.inf and after:
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
        elif i and stages[i - 1].kind == "filter" and differ(late, stages[i - 1] | late) is False:
            idle = _label(stages[i - 1])
            yield f"{idle} makes no difference before {_label(late)}; leave it out"


def _makes_idle(before: Stages, late: Sampler) -> Sampler | None:
    """Return the earlier filter that makes a later one remove nothing, or None."""
    for i, early in enumerate(before):
        # Alone and with the stages between, which may change the rows that reach it.
        prefixes = (early, Chain(tuple(before[i:])))
        if early.kind == "filter" and all(has_effect(late, p) is False for p in prefixes):
            return early
    return None


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
    _filter_after_temperature,
    _penalty_after_filter,
    _change_after_feedback,
)
"""The rules on the order of two stages."""


def _keeps_the_most_likely(stage: Sampler) -> bool:
    return stage.is_argmax_invariant and Strategy(stage).temperature != math.inf


def _is_hot(stage: Sampler) -> bool:
    if stage.kind != "temperature":
        return False
    t = Strategy(stage).temperature
    return flattens(stage) if t is None else 1 < t < math.inf


def _label(stage: Sampler) -> str:
    """Return a stage's name with the parameters in `neutral`; a penalty's or mask's name alone."""
    numbers = {name: getattr(stage, name) for name in stage.neutral}
    if stage.kind in ("penalty", "mask") or not numbers:
        return _name(stage)
    pairs = (f"{k}={v:g}" if isinstance(v, float) else f"{k}={v!r}" for k, v in numbers.items())
    return f"{_name(stage)}({', '.join(pairs)})"


def _name(stage: Sampler) -> str:
    """Return the name of a stage without the prefix of its package."""
    return stage.name.rpartition(":")[2]


def _labels(stages: Stages) -> str:
    *most, last = map(_label, stages)
    return f"{', '.join(most)} and {last}" if most else last


def _it(stages: Stages) -> str:
    return "it" if len(stages) == 1 else "them"


WIDTH = 1024
SIZES = (2, 3, 5, 10, 30, 100, 300, WIDTH)
LARGE = 2**19
"""The length of the rows that confirm a claim about every row: longer than today's vocabularies."""

HEAT = 2.0
TOLERANCE = 1e-5
"""The largest difference of two probabilities that rounding can explain."""


def leaves_one_token(sampler: Sampler) -> bool:
    """Return True if a sampler keeps only the most likely token of any row."""
    for rows in (make() for make in BATCHES):
        if (result := result_on(sampler, rows)) is None:
            return False
        alone = (result > -np.inf).sum(axis=-1) == 1
        if not (alone & (result.argmax(axis=-1) == rows.argmax(axis=-1))).all():
            return False
    return True


def flattens(sampler: Sampler) -> bool:
    """Return True if a sampler raises the entropy of some rows."""
    result = result_on(sampler, _probes())
    if result is None:
        return False
    return bool((entropy(softmax(result)) > entropy(softmax(_probes())) + 1e-3).any())


def compares_probabilities(sampler: Sampler) -> bool:
    """Return True if a filter keeps less likely tokens when a temperature flattens its input."""
    cool, hot = (result_on(sampler, rows) for rows in (_probes(), _probes() / np.float32(HEAT)))
    if cool is None or hot is None:
        return False
    # The least likely token that stays, by its logit before the division.
    least = [np.where(result > -np.inf, _probes(), np.inf).min(axis=-1) for result in (cool, hot)]
    return bool((least[1] < least[0]).any())


def has_effect(sampler: Sampler, after: Sampler | None = None) -> bool | None:
    """Return True if a sampler changes some row, False if none, None if that cannot be known.

    Args:
        sampler: a sampler that reads the logits alone.
        after: the sampler that acts before it.
    """
    return differ(after, sampler if after is None else after | sampler)


def differ(a: Sampler | None, b: Sampler) -> bool | None:
    """Return True if two samplers differ on some row, False if on none, None if not known.

    Args:
        a: a sampler, or None for the logits as they come.
        b: a sampler.
    """
    for rows in BATCHES:
        first = rows() if a is None else result_on(a, rows())
        second = result_on(b, rows())
        if first is None or second is None:
            return None
        # Probabilities, not logits: a constant added to a row is no difference.
        if not np.allclose(softmax(first), softmax(second), rtol=TOLERANCE, atol=0):
            return True
    return False


@cache
def _few_probes() -> Array:
    """Return (4, 64) float32 logits that most samplers change, to try before the many probes."""
    i = np.arange(64, dtype=np.float32)
    return np.stack([0 * i, -0.1 * i, -i, np.where(i == 0, 3, 0 * i)])


@cache
def _probes() -> Array:
    """Return rows of many shapes, in falling order: flat, almost flat, and falling differently.

    Returns:
        (rows, WIDTH) float32, minus infinity after the tokens of a row.
    """
    rng = np.random.default_rng(1)
    flat = [np.zeros(n) for n in (*range(1, 65), 100, 128, 200, 256, 500, 512, 1000, WIDTH)]
    shaped = [row for n in SIZES for row in _shapes(n, rng)]
    rows = np.full((len(flat) + len(shaped), WIDTH), -np.inf, dtype=np.float32)
    for row, values in zip(rows, [*flat, *shaped], strict=True):
        row[: len(values)] = np.sort(values)[::-1]
    return rows


def _shapes(n: int, rng: np.random.Generator) -> list[Array]:
    i = np.arange(n)
    return [
        *(np.where(i == 0, gap, 0.0) for gap in (0.1, 0.7, 2.0, 5.0, 12.0)),
        *(np.where(i == 0, -gap, 0.0) for gap in (0.1, 0.7, 2.0, 5.0, 12.0)),
        *(-slope * i for slope in (0.01, 0.1, 0.5, 1.0, 3.0)),
        *(-exponent * np.log(i + 1) for exponent in (0.5, 1.0, 2.0)),
        *(rng.normal(0, spread, n) for spread in (0.5, 1.0, 3.0, 10.0, 40.0)),
    ]


@cache
def _large_probes() -> Array:
    """Return (3, LARGE) float32: flat, flat but for the last token, and falling steadily."""
    i = np.arange(LARGE, dtype=np.float32)
    return np.stack([0 * i, np.where(i == LARGE - 1, -5, 0 * i), -0.1 * i])


@cache
def _random_probes() -> Array:
    """Return (2048, 512) float32: a head and a tail of random sizes, masses and shapes.

    A filter after another one compares renormalised probabilities. A claim about two filters may
    hold for the even shapes of the other rows, and fail where a few tokens lie near a threshold.
    """
    rng = np.random.default_rng(2)
    rows = np.full((2048, 512), -np.inf, dtype=np.float32)
    for row in rows:
        sizes = np.exp(rng.uniform(0, np.log((9, 500)))).astype(int)
        share = 1 - rng.random() * rng.choice([1.0, 0.1])
        parts = [rng.dirichlet(np.full(n, 10 ** rng.uniform(-1, 2.5))) for n in sizes]
        p = np.concatenate([share * parts[0], (1 - share) * parts[1]])
        row[: len(p)] = np.log(np.maximum(p, np.finfo(np.float32).tiny))
    return rows


BATCHES = (_few_probes, _probes, _random_probes, _large_probes)
"""The cheap ones first: most claims fail there."""
