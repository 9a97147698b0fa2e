"""Each planted fault is found and named, and a correct engine passes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from corelm_probe import MODELS, CallableEngine, probe, statistics
from corelm_probe import engine as engines
from corelm_probe.checks import NEIGHBOURS, SEED, run_checks
from corelm_probe.engine import collect, requests_for
from corelm_probe.variants import TopKTies
from corelm_probe.verdict import fitted
from planted import drawn, engine_of, speculative_engine

import corelm

HIDDEN = "repetition_penalty(penalty=1.2, last=64)"
SLOPE, TIES = MODELS["slope"], MODELS["ties"]


@pytest.fixture(autouse=True)
def little_work(monkeypatch):
    """Simulate p-values down to 1 in 2,000 only: these faults are large. Draw shorter texts.

    A hypothesis that reads the history follows texts one token at a time, however many there are.
    """
    monkeypatch.setattr(statistics, "SIMULATIONS", 1_999)
    monkeypatch.setattr(engines, "LENGTH", 25)


def probed(engine, chain, model=SLOPE, **options):
    return probe(engine, {"sampler": chain}, model, **options)


def explanation(engine, chain, model=SLOPE, **options):
    verdict = probed(engine, chain, model, level=0.01, **options)
    assert not verdict.consistent
    assert verdict.explanation is not None, verdict.nearest
    return verdict.explanation.about, verdict.fault


@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "chain", "fault"),
    [
        ((), "top_k(k=7) | temperature(t=0.8)", "all tokens that tie at the cut"),
        (tuple(range(94, -1, -1)), "top_k(k=7)", "other tokens of those that tie at the cut"),
    ],
    ids=["all", "the highest first"],
)
def test_tokens_of_a_tie_that_are_kept_are_named(first, chain, fault):
    def with_ties(stages):
        return [TopKTies(k=s.k, first=first) if type(s).__name__ == "TopK" else s for s in stages]

    engine = engine_of(TIES, change=with_ties)
    assert explanation(engine, chain, TIES, draws=2000) == (f"top_k keeps {fault}", "top_k")


@pytest.mark.long
def test_a_temperature_that_is_5_percent_off_is_named():
    def cooler(stages):
        return [
            replace(s, t=s.t * 0.95) if type(s).__name__ == "Temperature" else s for s in stages
        ]

    engine = engine_of(SLOPE, change=cooler)
    about, fault = explanation(engine, "temperature(t=0.8) | top_k(k=40)", draws=12_000)
    results = float(about.removeprefix("temperature is ").partition(",")[0])
    assert results == pytest.approx(0.8 * 0.95, rel=0.015)
    assert fault == "temperature"


@pytest.mark.long
@pytest.mark.parametrize("counts", [True, False])
def test_a_penalty_with_another_window_is_named(counts):
    def other(stages):
        return [
            replace(s, skip_prompt=not counts) if type(s).__name__ == "RepetitionPenalty" else s
            for s in stages
        ]

    engine = engine_of(SLOPE, change=other)
    chain = f"repetition_penalty(penalty=1.3, skip_prompt={counts}) | temperature(t=0.8)"
    about, fault = explanation(engine, chain, draws=3000)
    verb = "counts" if counts else "doesn't count"
    assert about == f"repetition_penalty {verb} the prompt"
    assert fault == "repetition_penalty"


def speculates(draft, accepts, **how):
    return speculative_engine(SLOPE, MODELS[draft], accepts, **how)


PLANTED = {
    r"the order is temperature \| top_p": (
        engine_of(SLOPE, change=lambda stages: stages[::-1]),
        "top_p(p=0.8) | temperature(t=0.7)", 2500, "temperature"),  # with top_p alone it is right
    r"a hidden top_k\(k=40\).*": (
        engine_of(SLOPE, change=lambda stages: [*stages, corelm.sampler("top_k(k=40)")]),
        "temperature(t=0.9)", 2000, "no setting"),
    r"the order is temperature \| top_p; a hidden repetition_penalty\(penalty=1.2, last=64\).*": (
        engine_of(SLOPE, change=lambda stages: [corelm.sampler(HIDDEN), *stages[::-1]]),
        "top_p(p=0.8) | temperature(t=0.7)", 2000, "top_p"),
    r"a draft of the model `flat` is accepted 2 times too often, .*": (
        speculates("flat", lambda ratio: 2 * ratio), "temperature(t=0.8)", 12_000, "no setting"),
    r"a draft of the likeliest token is accepted too often, .*": (
        speculates("slope", lambda ratio: 1.5 * ratio, propose="greedy"),
        "stochastic", 12_000, "no setting"),
    r"a draft of the model without the settings is never rejected, .*": (
        speculates("slope", lambda ratio: 1, propose="stochastic"), "top_k(k=20)", 12_000, "top_k"),
    r"a draft of the model `peaked` that is rejected is followed by a draw from all tokens.*": (
        speculates("peaked", lambda ratio: ratio, residual=False),
        "temperature(t=0.8)", 12_000, "no setting"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("named", PLANTED)
def test_a_planted_fault_is_named(named):
    engine, chain, draws, setting = PLANTED[named]
    about, fault = explanation(engine, chain, draws=draws)
    assert re.fullmatch(named, about)
    assert fault == setting


@pytest.mark.slow
def test_lossless_speculative_decoding_is_consistent():
    engine = speculates("flat", lambda ratio: ratio)
    assert probed(engine, "temperature(t=0.8)", draws=12_000).consistent


def test_an_ignored_seed_is_named():
    state = np.random.default_rng(3)

    def ignores_seed(prompt, settings, n, seed, length):
        return drawn(corelm.sampler("stochastic"), SLOPE, prompt, n, state, length)

    results = checked_facts(CallableEngine(ignores_seed))
    assert results[SEED].startswith("no: the seed is ignored")
    assert results[NEIGHBOURS].startswith("no: 5 of 5 texts differ, and the same batch")


def test_one_text_for_all_seeds_is_named():
    def one_seed(prompt, settings, n, seed, length):
        return drawn(corelm.sampler("stochastic"), SLOPE, prompt, n, 3, length)

    assert checked_facts(CallableEngine(one_seed))[SEED] == "no: every seed gives the same text"


def test_a_batch_that_changes_texts_is_named():
    class SharedState(CallableEngine):
        def draw_batch(self, prompts, settings, seed, length):
            rng = np.random.default_rng(seed)
            chain = corelm.sampler("stochastic")
            return np.concatenate([drawn(chain, SLOPE, p, 1, rng, length) for p in prompts])

    results = checked_facts(SharedState(engine_of(SLOPE).function))
    assert results[SEED] == "yes"
    assert results[NEIGHBOURS] == "no: 4 of 5 texts differ from those drawn alone"


def test_an_engine_that_draws_nothing_is_named():
    about, fault = explanation(engine_of(SLOPE, "greedy"), "temperature(t=0.8)", draws=2000)
    assert about == "it draws nothing: it takes the likeliest token"
    assert fault == "no setting"


@pytest.mark.parametrize("fault", ["several texts at a time", "a text at a time"])
def test_a_fault_of_several_texts_or_of_one_is_named(fault):
    def draw(prompt, settings, n, seed, length):
        is_wrong = (n > 1) == (fault == "several texts at a time")
        chain = "temperature(t=1.2)" if is_wrong else settings["sampler"]
        return drawn(corelm.sampler(chain), SLOPE, prompt, n, seed, length)

    verdict = probed(CallableEngine(draw), "temperature(t=0.8)", draws=6000, level=0.01)
    assert verdict.fault == fault


def test_draws_that_would_do_are_more_than_those_that_did_not():
    verdict = probed(engine_of(SLOPE), "temperature(t=0.8)", draws=500)
    needed = [one.draws for one in verdict.alternatives]
    assert verdict.consistent
    assert [one for one in needed if np.isfinite(one)]
    assert min(needed) > verdict.draws


def test_copies_in_one_request_are_named():
    def copies(prompt, settings, n, seed, length):
        return np.repeat(drawn(corelm.sampler("stochastic"), SLOPE, prompt, 1, seed, length), n, 0)

    verdict = probed(CallableEngine(copies), "temperature(t=1)", draws=2000)
    assert (verdict.consistent, verdict.equal_texts) == (False, 63)


@pytest.mark.parametrize(
    ("stages", "reporting", "owner"),
    [
        (0, "slope", "the model's"),
        (2, "slope", "the sampler's, after all settings"),
        (1, "slope", "those after top_k, before temperature"),
        (0, "ties", "those of the model ties: is it the draft?"),
    ],
)
def test_the_owner_of_logprobs_is_named(stages, reporting, owner):
    chain = "top_k(k=20) | temperature(t=0.5)"

    class Reporting(CallableEngine):
        reports_logprobs = True

        def logprobs(self, prompt, settings, seed, length):
            text = self.draw(prompt, settings, 1, seed, length)[0].tolist()
            row = MODELS[reporting].logits([prompt])
            for stage in corelm.sampler(chain).stages[:stages]:
                row = stage(row, corelm.Context.of([prompt]))
            return text, corelm.log_softmax(row)[0, text].tolist()

    engine = Reporting(engine_of(SLOPE).function)
    engine.reports_logprobs = True
    results = run_checks(engine, {"sampler": chain}, corelm.sampler(chain), SLOPE, 1)
    assert results["reported log-probabilities"] == owner


def checked_facts(engine):
    return run_checks(engine, {"sampler": "stochastic"}, corelm.sampler("stochastic"), SLOPE, 1)


CHAINS = (
    ("top_k(k=20) | temperature(t=0.8)", "slope"),
    ("top_k(k=7)", "ties"),
    ("typical(p=0.9)", "peaked"),
    ("temperature(t=0.7)", "last"),
    ("repetition_penalty(penalty=1.2) | min_p(p=0.05)", "slope"),
)


@pytest.mark.long
@pytest.mark.parametrize(("chain", "name"), CHAINS)
def test_false_alarms_are_at_most_the_level(monkeypatch, chain, name):
    """Of 100 correct engines at most as many fail at the level 0.05 as chance allows."""
    monkeypatch.setattr(statistics, "SIMULATIONS", 199)  # p-values of 0.005 and more
    model, sampler = MODELS[name], corelm.sampler(chain)
    requests, engine = requests_for(sampler, model, 600), engine_of(model, sampler)
    p_values = [
        fitted(collect(engine, model, {}, requests, 10 * seed), sampler, seed).p_value
        for seed in range(100)
    ]
    assert sum(p <= 0.05 for p in p_values) <= 14  # 5 are expected, with a standard error of 2.2


@pytest.mark.slow
def test_a_correct_engine_passes_and_its_limits_are_named():
    verdict = probed(engine_of(SLOPE), "top_k(k=20) | temperature(t=0.8)")
    assert verdict.consistent
    assert verdict.draws == 20_000
    same = {a.hypothesis.about for a in verdict.alternatives if np.isinf(a.draws)}
    assert "the order is temperature | top_k" in same
    assert "top_k keeps all tokens that tie at the cut" in same
    abouts = {a.hypothesis.about for a in verdict.alternatives}
    assert not any("temperature is" in about for about in abouts)  # 5 % would have been seen
