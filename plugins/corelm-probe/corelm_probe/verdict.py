"""Probe an engine: test its draws, find the chain that explains them, name the setting at fault."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import corelm
from corelm import Sampler
from corelm.errors import CorelmError, SettingsError
from corelm_probe.engine import Engine, Settings, collect, equal_texts, is_random, requests_for
from corelm_probe.evidence import Evidence
from corelm_probe.hypotheses import (
    Hypothesis,
    chain_of,
    fitted_temperature,
    hypotheses,
    lossy_drafts,
    name_of,
    pairs_of_deviations,
)
from corelm_probe.models import ProbeModel
from corelm_probe.statistics import StageTest, stage_tests

DRAWS, LEVEL = 20_000, 0.001
SEVERAL, SINGLE = "several texts at a time", "a text at a time"
SAME = 1e-6
"""The largest difference in nats, over all draws, of chains that count as one distribution."""


@dataclass(frozen=True)
class Fit:
    """The test of a chain against the draws.

    Attributes:
        chain: the chain.
        tests: the test of each stage of the draws.
        p_value: the smallest p-value of the tests, times their number (Bonferroni).
    """

    chain: Sampler
    tests: Sequence[StageTest]
    p_value: float


@dataclass(frozen=True)
class RivalHypothesis:
    """A chain that the draws do not rule out.

    Attributes:
        hypothesis: the chain and its deviation.
        draws: the number that would rule it out at the level, those already drawn included; inf if
            the distributions are equal here.
    """

    hypothesis: Hypothesis
    draws: float


@dataclass(frozen=True)
class Verdict:
    """The result of a probe.

    Attributes:
        engine: the name of the engine.
        model: the name of the model.
        settings: the settings that were sent.
        draws: the number of drawn tokens.
        level: the probability of finding a deviation in a correct engine.
        fit: the chain of the settings against the draws.
        equal_texts: the number of texts that are copies of another text of the same request.
        explanation: the hypothesis that explains the draws; None if the settings do, or none does.
        explained: the test of the explanation on fresh draws, which it was not chosen by.
        nearest: the likeliest hypothesis if none explains the draws.
        tried: the number of hypotheses.
        fault: the first setting that does not do what it says, or `no setting` if the engine
            deviates with every sampler off; or `several texts at a time` or `a text at a time`, if
            only those deviate; empty if unknown.
        alternatives: chains that these draws cannot distinguish from the explanation.
        unsupported: settings that corelm has no counterpart for, and that were not tested.
        checks: other facts, by question.
    """

    engine: str
    model: str
    settings: Settings
    draws: int
    level: float
    fit: Fit
    equal_texts: int = 0
    explanation: Hypothesis | None = None
    explained: Fit | None = None
    nearest: Hypothesis | None = None
    tried: int = 0
    fault: str = ""
    alternatives: Sequence[RivalHypothesis] = ()
    unsupported: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=dict)

    @property
    def consistent(self) -> bool:
        """True if the draws are consistent with the settings."""
        return self.fit.p_value > self.level and not self.equal_texts


class Trial(NamedTuple):
    """The arguments of `probe`, with the chain that the settings stand for."""

    engine: Engine
    settings: Settings
    chain: Sampler
    model: ProbeModel
    draws: int
    seed: int
    level: float


def probe(
    engine: Engine,
    settings: Settings,
    model: ProbeModel,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Verdict:
    """Compare what an engine draws with what its settings say.

    Args:
        engine: an engine that runs the model.
        settings: in the engine's own keys, as `corelm.from_settings` reads them; or, for an engine
            without a format, `{"sampler": expression}`.
        model: the model that it runs.
        draws: the number of tokens.
        seed: of the first request; the engine gets another for each request.
        level: the probability of finding a deviation in a correct engine.

    Raises:
        EngineError: the engine cannot be reached, or returns something other than tokens.
        SettingsError: settings that cannot be read.

    Example:
        >>> import numpy as np
        >>> from corelm_probe import CallableEngine, MODELS
        >>> def uniform(prompt, settings, n, seed, length):
        ...     return np.random.default_rng(seed).integers(1, 95, size=(n, length))
        >>> engine, flat = CallableEngine(uniform), MODELS["flat"]
        >>> probe(engine, {"sampler": "top_k(k=0)"}, flat, draws=2_000).consistent
        True
        >>> verdict = probe(engine, {"sampler": "top_k(k=40)"}, flat, draws=2_000)
        >>> verdict.consistent, verdict.explanation.about
        (False, 'top_k is ignored')
    """
    chain, unsupported = chain_of_settings(settings, engine.format)
    evidence = collect(engine, model, settings, requests_for(chain, model, draws), seed)
    fit = fitted(evidence, chain, seed)
    copies = equal_texts(evidence) if is_random(chain, model) else 0
    verdict = Verdict(
        engine.name, model.name, settings, evidence.draws, level, fit, copies,
        unsupported=unsupported,
    )  # fmt: skip
    # Greedy decoding explains copies; any other copies would mislead every test.
    misled = copies and evidence.log_likelihood(corelm.sampler("greedy")) < 0
    if fit.p_value > level or misled:
        tried = hypotheses(chain, evidence)
        alike = alternatives(tried[0], tried, evidence, level)
        return replace(verdict, alternatives=alike, tried=len(tried))
    trial = Trial(engine, settings, chain, model, draws, seed, level)
    explained = _explained(trial, evidence)
    nearest = explained.get("explanation") or explained["nearest"]
    fault = number_at_fault(trial, nearest.sampler) or first_fault(trial)
    return replace(verdict, **explained, fault=fault)


def chain_of_settings(settings: Settings, engine: str | None) -> tuple[Sampler, Mapping[str, str]]:
    """Return the chain that settings stand for, and the settings that corelm cannot test."""
    if engine is None:
        return corelm.sampler(settings["sampler"]), {}
    read = corelm.from_settings(settings, engine)
    unknown = dict.fromkeys(read.unknown, "corelm does not know it")
    return read.sampler, {**read.unsupported, **unknown}


def fitted(evidence: Evidence, chain: Sampler, seed: int) -> Fit:
    """Test draws against a chain."""
    tests = stage_tests(evidence.cells(chain), evidence.model.words, seed)
    return Fit(chain, tests, min(1.0, len(tests) * min(test.p_value for test in tests)))


def _explained(trial: Trial, evidence: Evidence) -> dict[str, Any]:
    """Find the likeliest hypothesis, and test it on fresh draws.

    Pairs of deviations are tried if no single one passes.
    """
    engine, settings, chain, model, draws, seed, level = trial
    tried = hypotheses(chain, evidence)
    result: dict[str, Any] = {}
    for more in ((), pairs_of_deviations(chain, evidence)):
        tried.extend(more)
        scores = [round(evidence.log_likelihood(one.sampler), 6) for one in tried]
        best = tried[scores.index(max(scores))]  # the first on ties
        best, *fits = _with_fits(best, chain, evidence)
        fit = fitted(evidence, best.sampler, seed)
        result = {"nearest": best, "explained": fit, "tried": len(tried) + len(fits)}
        if fit.p_value <= level:
            continue
        seed += len(evidence.texts)
        requests = requests_for(best.sampler, model, draws)
        fresh = collect(engine, model, settings, requests, seed)
        fit = fitted(fresh, best.sampler, seed)
        if fit.p_value > level:
            alike = alternatives(best, [*tried, *fits], fresh, level)
            return {"explanation": best, **result, "explained": fit, "alternatives": alike,
                    "nearest": None}  # fmt: skip
        evidence = Evidence(model, [*evidence.texts, *fresh.texts])
    return result


def _with_fits(best: Hypothesis, chain: Sampler, evidence: Evidence) -> list[Hypothesis]:
    """Return the hypotheses with a fitted temperature or share of drafts, and the likeliest first.

    It is the best one without them unless they are likelier by more than chance makes them.
    """
    base = chain if best.fault == "temperature" else best.sampler
    fits = [*filter(None, [fitted_temperature(base, evidence)]), *lossy_drafts(chain, evidence)]
    scores = [evidence.log_likelihood(best.sampler) + 3]
    scores += [evidence.log_likelihood(fit.sampler) for fit in fits]
    first = [best, *fits][scores.index(max(scores))]
    return [first, *fits]


def alternatives(
    best: Hypothesis, others: Iterable[Hypothesis], evidence: Evidence, level: float
) -> list[RivalHypothesis]:
    """Return the hypotheses that draws do not rule out, those with the same distribution first.

    A hypothesis is ruled out if the draws are 1 / level times likelier under the best one.
    """
    likelihood = evidence.log_likelihood(best.sampler)
    rows: dict[str, RivalHypothesis] = {}
    for other in others:
        if other.sampler == best.sampler or str(other.sampler) in rows:
            continue
        missing = evidence.log_likelihood(other.sampler) - likelihood - math.log(level)
        if missing >= 0:
            nats = evidence.divergence(best.sampler, other.sampler)
            equal = nats * evidence.draws < SAME
            needed = math.inf if equal else evidence.draws + missing / nats
            rows[str(other.sampler)] = RivalHypothesis(other, needed)
    return sorted(rows.values(), key=lambda alternative: -alternative.draws)


def number_at_fault(trial: Trial, nearest: Sampler) -> str:
    """Return the number of texts at a time that deviates, if the other one doesn't.

    The other draws must be consistent with the settings, and less likely under the nearest
    hypothesis.
    """
    engine, settings, chain, model, draws, seed, level = trial
    requests = requests_for(chain, model, draws)
    few = requests_for(chain, model, draws // 4)  # one request a text takes its time
    for fault, others in (
        (SEVERAL, [replace(request, alone=True) for request in few]),
        (SINGLE, [request for request in requests if not request.alone]),
    ):
        evidence = collect(engine, model, settings, others, seed + 200)
        is_likelier = evidence.log_likelihood(chain) > evidence.log_likelihood(nearest)
        if is_likelier and fitted(evidence, chain, seed).p_value > level:
            return fault
    return ""


def first_fault(trial: Trial) -> str:
    """Return the first setting that does not do what it says.

    It starts with every sampler off, and switches the chain's samplers on one after the other, in
    the engine's order, until the draws deviate.
    """
    engine, settings, chain, model, draws, seed, level = trial
    stages = chain.active_stages
    for count in range(len(stages) + 1):
        part = chain_of(stages[:count])
        try:
            request = settings_for(part, settings, engine.format)
        except SettingsError:
            continue
        try:
            evidence = collect(engine, model, request, requests_for(part, model, draws), seed + 100)
        except CorelmError:
            continue  # the engine refuses this part of the settings
        if fitted(evidence, part, seed).p_value <= level:
            return name_of(stages[count - 1]) if count else "no setting"
    return ""


def settings_for(chain: Sampler, settings: Settings, engine: str | None) -> dict[str, Any]:
    """Write a chain as an engine's settings; keep the other keys of `settings`."""
    if engine is None:
        return {"sampler": str(chain)}
    others = corelm.from_settings(settings, engine).other
    return {**others, **corelm.to_settings(chain, engine)}
