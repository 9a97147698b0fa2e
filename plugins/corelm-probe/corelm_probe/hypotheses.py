"""The hypotheses: chains that an engine may apply instead of the chain of its settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

import corelm
from corelm import Chain, Sampler
from corelm_probe.evidence import IMPOSSIBLE, Evidence, reads_history
from corelm_probe.models import MODELS
from corelm_probe.variants import AlwaysDivide, LossyDraft, TopKTies, TopPTies

SHORT = 5
"""The longest chain to try in every order; in longer ones, one stage is moved at a time."""
FACTORS = (0.8, 0.9, 0.95, 1.05, 1.1, 1.25)
WINDOWS = (0, 20, 64, 256)
"""Common windows of engines' penalties, in tokens; 0 is the whole context."""
HIDDEN = (
    *(f"top_k(k={k})" for k in (20, 40, 50, 64, 100)),
    *(f"top_p(p={p})" for p in (0.8, 0.9, 0.92, 0.95)),
    *(f"min_p(p={p})" for p in (0.02, 0.05, 0.1)),
    *(f"temperature(t={t})" for t in (0.6, 0.7, 0.75, 0.8)),
    *(
        f"repetition_penalty(penalty={penalty}, last={last}{skip})"
        for penalty, last, skip in product((1.05, 1.1, 1.2), (0, 64), ("", ", skip_prompt=True"))
    ),
)
"""Defaults of engines and of models' own settings, which may act unnoticed."""
LENIENCIES = (1.25, 1.5, 2.0, 4.0, math.inf)
"""How much too often a draft's tokens are accepted; infinity accepts them all."""
GREEDY = "it draws nothing: it takes the likeliest token"
LIKELIEST = corelm.sampler("greedy")
PENALTIES = ("repetition_penalty", "frequency_penalty", "presence_penalty")


@dataclass(frozen=True)
class Hypothesis:
    """A chain that an engine may apply.

    Attributes:
        about: its deviation from the settings, in words; empty for the settings' own chain.
        sampler: the chain.
        fault: the name of the sampler that deviates from the settings; empty if only the order
            does.
    """

    about: str
    sampler: Sampler
    fault: str = ""


def hypotheses(chain: Sampler, evidence: Evidence) -> list[Hypothesis]:
    """Return the chains with one deviation from a chain, itself first.

    Args:
        chain: the chain of the settings.
        evidence: the draws, which show the engine's choice among tokens that tie at a cut.
    """
    stages = chain.active_stages
    own = [Hypothesis("", chain), Hypothesis(GREEDY, LIKELIEST)]
    return [*own, *_orders(stages), *_changed(stages, evidence), *_hidden(stages)]


def pairs_of_deviations(chain: Sampler, evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the chains with another order and a second deviation."""
    for order in _orders(chain.active_stages):
        stages = order.sampler.active_stages
        for other in [*_changed(stages, evidence), *_hidden(stages)]:
            yield replace(other, about=f"{order.about}; {other.about}")


def name_of(stage: Sampler) -> str:
    """Return the name of a stage, as expressions have it."""
    return str(stage).partition("(")[0]


def chain_of(stages: Sequence[Sampler]) -> Sampler:
    """Chain stages into one sampler."""
    if not stages:
        return corelm.sampler("stochastic")
    return stages[0] if len(stages) == 1 else Chain(tuple(stages))


def _orders(stages: Sequence[Sampler]) -> Iterator[Hypothesis]:
    """Yield the chains in other orders."""
    n = len(stages)
    if n <= SHORT:
        orders = list(permutations(range(n)))[1:]
    else:
        orders = []
        for i, j in product(range(n), range(n)):
            rest = [k for k in range(n) if k != i]
            orders.append((*rest[:j], i, *rest[j:]))
        orders = [order for order in dict.fromkeys(orders) if order != tuple(range(n))]
    for order in orders:
        moved = [stages[i] for i in order]
        about = f"the order is {' | '.join(map(name_of, moved))}"
        yield Hypothesis(about, chain_of(moved))


def _hidden(stages: Sequence[Sampler]) -> Iterator[Hypothesis]:
    """Yield the chains with one additional stage, at each place."""
    present = {name_of(stage) for stage in stages}
    for expression in HIDDEN:
        stage = corelm.sampler(expression)
        if name_of(stage) not in present:
            for place in range(len(stages) + 1):
                about = f"a hidden {expression}"
                if stages:
                    about += " at the end" if place else " at the beginning"
                    about += (
                        f", after {name_of(stages[place - 1])}" if 0 < place < len(stages) else ""
                    )
                chain = chain_of([*stages[:place], stage, *stages[place:]])
                yield Hypothesis(about, chain, name_of(stage))


def _changed(stages: Sequence[Sampler], evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the chains with one stage left out or changed."""
    for i, stage in enumerate(stages):
        name = name_of(stage)
        rest = [*stages[:i], *stages[i + 1 :]]
        yield Hypothesis(f"{name} is ignored", chain_of(rest), name)
        for about, changed in _changes(stage, evidence):
            chain = chain_of([*stages[:i], changed, *stages[i + 1 :]])
            yield Hypothesis(about, chain, name)
    penalties = [i for i, stage in enumerate(stages) if name_of(stage) in PENALTIES]
    if len(penalties) > 1:
        yield from _penalties_alike(stages, penalties)


def _changes(stage: Sampler, evidence: Evidence) -> Iterator[tuple[str, Sampler]]:
    """Yield the other meanings that an engine may give a stage, each with a description."""
    name = name_of(stage)
    if name in PENALTIES:
        yield from _of_penalty(stage, name)
        return
    change = CHANGES.get(name)
    if change is not None:
        drawn = tuple(int(i) for i in (-evidence.counts).argsort(kind="stable"))
        yield from change(stage, drawn)


def _of_temperature(stage: Any, drawn: tuple[int, ...]) -> Iterator[tuple[str, Sampler]]:
    t = stage.t
    for factor in FACTORS:
        yield f"temperature is {factor * t:.4g}, not {t:g}", replace(stage, t=factor * t)
    if t > 0:
        yield f"temperature multiplies the logits: it is 1/{t:g}", replace(stage, t=1 / t)
        yield f"temperature acts twice: it is {t * t:.4g}", replace(stage, t=t * t)


def _of_top_k(stage: Any, drawn: tuple[int, ...]) -> Iterator[tuple[str, Sampler]]:
    k = stage.k
    yield "top_k keeps all tokens that tie at the cut", TopKTies(k=k)
    yield "top_k keeps other tokens of those that tie at the cut", TopKTies(k=k, first=drawn)
    for other in (k - 1, k + 1):
        if other > 0:
            yield f"top_k keeps {other} tokens, not {k}", replace(stage, k=other)


def _of_top_p(stage: Any, drawn: tuple[int, ...]) -> Iterator[tuple[str, Sampler]]:
    p = stage.p
    yield "top_p keeps all tokens that tie at the cut", TopPTies(p=p)
    yield "top_p keeps other tokens of those that tie at the cut", TopPTies(p=p, first=drawn)
    yield "top_p leaves out the token that crosses p", TopPTies(p=p, crossing=False)
    yield f"top_p is {1 - p:g}, not {p:g}", replace(stage, p=1 - p)


def _of_min_p(stage: Any, drawn: tuple[int, ...]) -> Iterator[tuple[str, Sampler]]:
    for factor in (0.5, 2.0):
        p = min(1.0, factor * stage.p)
        yield f"min_p is {p:g}, not {stage.p:g}", replace(stage, p=p)
    absolute = corelm.sampler("epsilon", epsilon=min(stage.p, 0.999))
    yield "min_p is a probability, not a share of the largest", absolute


CHANGES: Mapping[str, Callable[[Any, tuple[int, ...]], Iterator[tuple[str, Sampler]]]] = {
    "temperature": _of_temperature,
    "top_k": _of_top_k,
    "top_p": _of_top_p,
    "min_p": _of_min_p,
}


def _of_penalty(stage: Any, name: str) -> Iterator[tuple[str, Sampler]]:
    # The settings' own window first: of chains with the same distribution, the first is named.
    windows = dict.fromkeys((stage.last, *WINDOWS))
    for last, skip_prompt in product(windows, (False, True)):
        changed = replace(stage, skip_prompt=skip_prompt, last=last)
        if changed != stage:
            yield _window(name, stage, changed), changed
    if name == "repetition_penalty":
        yield "repetition_penalty acts on log-probabilities", replace(stage, normalised=True)
        divided = AlwaysDivide(
            penalty=stage.penalty, last=stage.last, skip_prompt=stage.skip_prompt
        )
        yield "repetition_penalty divides negative logits too", divided
        yield (
            "repetition_penalty rewards: it is inverted",
            replace(stage, penalty=1 / stage.penalty),
        )
    else:
        other = next(n for n in PENALTIES[1:] if n != name)
        same = {"last": stage.last, "skip_prompt": stage.skip_prompt}
        changed = corelm.sampler(other, penalty=stage.penalty, **same)
        yield f"{name} acts as {other}", changed
        yield f"{name} rewards: its sign is inverted", replace(stage, penalty=-stage.penalty)


def _window(name: str, stage: Any, changed: Any) -> str:
    """Describe the difference in the window of a penalty."""
    parts = []
    if changed.skip_prompt != stage.skip_prompt:
        parts.append("doesn't count the prompt" if changed.skip_prompt else "counts the prompt")
    if changed.last != stage.last:
        parts.append(
            f"counts the last {changed.last} tokens" if changed.last else "counts all tokens"
        )
    return f"{name} {' and '.join(parts)}"


def _penalties_alike(stages: Sequence[Sampler], indices: Sequence[int]) -> Iterator[Hypothesis]:
    """Yield the chains in which all penalties share another window."""
    for skip_prompt, last in product((False, True), WINDOWS):
        changed: list[Any] = [*stages]
        for i in indices:
            changed[i] = replace(changed[i], skip_prompt=skip_prompt, last=last)
        if changed != [*stages]:
            about = _window("every penalty", stages[indices[0]], changed[indices[0]])
            yield Hypothesis(about, chain_of(changed), name_of(stages[indices[0]]))


def fitted_temperature(chain: Sampler, evidence: Evidence) -> Hypothesis | None:
    """Return the chain with the temperature that fits best; None if it has none.

    The range is from a third to three times the temperature of the settings.
    """
    from scipy.optimize import minimize_scalar

    stages = chain.active_stages
    places = [i for i, stage in enumerate(stages) if name_of(stage) == "temperature"]
    if len(places) != 1:
        return None
    i, before = places[0], stages[places[0]]

    def at(log_t: float) -> Sampler:
        changed = replace(before, t=math.exp(log_t))  # type: ignore[call-arg]
        return chain_of([*stages[:i], changed, *stages[i + 1 :]])

    def loss(log_t: float) -> float:
        return min(-evidence.log_likelihood(at(log_t)), IMPOSSIBLE)

    middle = math.log(before.t)  # type: ignore[attr-defined]
    best = minimize_scalar(
        loss, bounds=(middle - math.log(3), middle + math.log(3)), method="bounded"
    )
    t = round(math.exp(best.x), 4)
    return Hypothesis(f"temperature is {t:.4g}, not {before.t:g}", at(math.log(t)), "temperature")  # type: ignore[attr-defined]


def lossy_drafts(chain: Sampler, evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the ways in which speculative decoding changes a chain's distribution.

    The draft takes the likeliest token, or draws without the settings, or is another of the probe's
    models. The share of its tokens is the likeliest one. A chain that reads the history has none:
    its draws are too few to fit a share.
    """
    if reads_history(chain):
        return
    for of_whom, draft in _drafts(chain, evidence):
        ways = [*product(LENIENCIES, (True,)), (1.0, False)]
        if draft.draft == LIKELIEST:  # whichever way, this token's share grows at all others' cost
            ways = [(math.inf, True)]
        for (leniency, residual), from_first in product(ways, (False, True)):
            lossy = replace(draft, leniency=leniency, residual=residual, from_first=from_first)
            lossy = replace(lossy, share=evidence.likeliest_share(lossy))
            how = "is accepted too often"
            if not residual:
                how = "that is rejected is followed by a draw from all tokens, not the residual"
            elif len(ways) > 1:
                how = "is never rejected"
                how = how if math.isinf(leniency) else f"is accepted {leniency:g} times too often"
            about = f"a draft of {of_whom} {how}, for {lossy.share:.0%} of the tokens"
            yield Hypothesis(about, lossy, "speculative decoding")


def _drafts(chain: Sampler, evidence: Evidence) -> Iterator[tuple[str, LossyDraft]]:
    """Yield the drafts that an engine may have for a chain, each with its name."""
    yield "the likeliest token", LossyDraft(chain=chain, draft=LIKELIEST)
    if chain.active_stages:
        yield "the model without the settings", LossyDraft(chain=chain)
    for name, model in MODELS.items():
        if model.is_constant and name != evidence.model.name:
            logits = tuple(model.logits([[1]])[0].tolist())
            yield f"the model `{name}`", LossyDraft(chain=chain, draft=chain, logits=logits)
