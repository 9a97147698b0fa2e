"""The test of counts, the likelihood of texts, and the engines' own definitions."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from corelm_probe import MODELS, EngineError
from corelm_probe.engine import checked, prompt_with_history
from corelm_probe.evidence import DrawnTexts, Evidence
from corelm_probe.hypotheses import hypotheses
from corelm_probe.statistics import g_test
from corelm_probe.variants import AlwaysDivide, TopKTies, TopPTies

import corelm

P = np.array([[0.5, 0.3, 0.2]])


def g_of(counts, p):
    return 2 * sum(c * math.log(c / (sum(counts) * q)) for c, q in zip(counts, p, strict=True) if c)


@pytest.mark.parametrize("counts", [(3, 2, 1), (1, 1, 4), (0, 5, 1), (6, 0, 0)])
def test_small_counts_have_the_exact_p_value(counts):
    """Compare with all outcomes of six draws, each with its probability."""
    p, exact = P[0], 0.0
    for outcome in product(range(7), repeat=3):
        if sum(outcome) == 6 and g_of(outcome, p) >= g_of(counts, p) - 1e-9:
            ways = math.factorial(6) / math.prod(map(math.factorial, outcome))
            exact += ways * math.prod(q**c for q, c in zip(p, outcome, strict=True))
    results, is_exact = g_test(np.array([counts]), P, np.random.default_rng(1))
    assert is_exact
    # It ends after 20 extreme simulations: a standard error of 22 %.
    assert results == pytest.approx(exact, rel=0.9 if exact > 0.002 else 0.2)
    assert results > 0


def test_large_counts_have_the_chi_square_p_value():
    results, is_exact = g_test(np.array([[500, 300, 200]]), P, np.random.default_rng(1))
    assert (results, is_exact) == (1.0, False)
    results, _ = g_test(np.array([[550, 270, 180]]), P, np.random.default_rng(1))
    assert results == pytest.approx(math.exp(-g_of((550, 270, 180), P[0]) / 2))  # 2 degrees


def test_an_impossible_token_has_the_p_value_zero():
    p = np.array([[0.5, 0.5, 0.0]])
    assert g_test(np.array([[5, 5, 1]]), p, np.random.default_rng(1)) == (0.0, True)


@pytest.mark.parametrize(
    "chain",
    [
        "temperature(t=0.7)",
        "repetition_penalty(penalty=1.4, last=3, skip_prompt=True) | top_k(k=30)",
        "mirostat(tau=3.0)",
    ],
)
@pytest.mark.parametrize("name", ["slope", "last"])
def test_the_likelihood_of_texts_is_that_of_a_report_of_corelm(chain, name):
    """Compare with the surprisals that corelm records while it writes the texts."""
    model, sampler = MODELS[name], corelm.sampler(chain)
    toy = Known(model)
    written = corelm.generate(toy, "AB", sampler=sampler, length=12, n=3, seed=5)
    tokens = np.array([text.tokens for text in written])
    evidence = Evidence(model, [DrawnTexts(tuple(model.encode("AB")), tokens)])
    expected = -sum(step.surprisal for text in written for step in text.steps)
    assert evidence.log_likelihood(sampler) == pytest.approx(expected, rel=1e-6)
    assert evidence.divergence(sampler, sampler) == pytest.approx(0, abs=1e-12)
    assert sum(cell.counts.sum() for cell in evidence.cells(sampler)) == evidence.draws == 36


class Known:
    """A probe's model in corelm."""

    context_length = 500

    def __init__(self, model):
        self.vocabulary, self.model = Characters(model), model

    def start(self, tokens):
        return KnownSession(self.model, np.array(tokens))


class KnownSession:
    def __init__(self, model, tokens):
        self.model, self.tokens = model, tokens

    def next_logits(self):
        return self.model.logits(self.tokens)

    def extend(self, tokens):
        self.tokens = np.column_stack([self.tokens, tokens])

    def select(self, rows):
        self.tokens = self.tokens[rows]


class Characters:
    padding, unknown, start, ends = None, None, None, ()

    def __init__(self, model):
        self.encode, self.decode = model.encode, lambda ids: model.decode(list(ids))

    def __len__(self):
        return 95


def test_a_shorter_text_counts_its_tokens_only():
    texts = DrawnTexts((1,), np.array([[2, 3, -1], [2, -1, -1]]))
    evidence = Evidence(MODELS["flat"], [texts])
    assert evidence.draws == 3
    for chain in ("stochastic", "presence_penalty(penalty=0)", "presence_penalty(penalty=0.0001)"):
        results = evidence.log_likelihood(corelm.sampler(chain))
        assert results == pytest.approx(-3 * math.log(94), abs=0.01)


def test_the_prompt_has_tokens_in_each_window():
    prompt = prompt_with_history(MODELS["slope"])
    filler = max(set(prompt), key=prompt.count)
    windows = [set(prompt[-end : len(prompt) - start]) - {filler}
               for start, end in ((0, 20), (20, 64), (64, 256), (256, 300))]  # fmt: skip
    assert len(prompt) == 300
    assert all(len(window) >= 6 for window in windows)
    assert not set.intersection(*windows)


def test_ids_that_an_engine_cannot_have_drawn_are_refused():
    with pytest.raises(EngineError, match="shape"):
        checked([[1, 2]], (2, 1), "it")
    with pytest.raises(EngineError, match="whole numbers"):
        checked([[1.5]], (1, 1), "it")
    with pytest.raises(EngineError, match="the token 95"):
        checked([[95]], (1, 1), "it")


def test_definitions_of_engines():
    logits = np.log([[0.4, 0.2, 0.2, 0.2]])
    context = corelm.Context.of([[0]])
    for sampler, kept in (
        (TopKTies(k=2), [0, 1, 2, 3]),
        (TopKTies(k=2, first=(3, 1)), [0, 3]),
        (TopKTies(k=9), [0, 1, 2, 3]),
        (TopPTies(p=0.5), [0, 1, 2, 3]),
        (TopPTies(p=0.5, first=(2,)), [0, 2]),
        (TopPTies(p=0.5, crossing=False), [0]),
        (TopPTies(p=1.0), [0, 1, 2, 3]),
    ):
        assert np.flatnonzero(np.isfinite(sampler(logits, context))[0]).tolist() == kept
    divided = AlwaysDivide(penalty=2)(np.array([[4.0, -1.0]]), corelm.Context.of([[1]]))
    assert divided.tolist() == [[4.0, -0.5]]


def test_hypotheses_differ_and_are_in_words():
    evidence = Evidence(MODELS["slope"], [DrawnTexts((1,), np.array([[2, 3]]))])
    chain = corelm.sampler(
        "repetition_penalty(penalty=1.2) | frequency_penalty(penalty=0.2) | top_k(k=9) | "
        "top_p(p=0.9) | min_p(p=0.1) | temperature(t=0.7)"
    )
    results = hypotheses(chain, evidence)
    assert results[0].sampler == chain
    assert all(one.about for one in results[1:])
    chains = [str(one.sampler) for one in results]
    assert len(set(chains)) >= len(chains) - 6  # a definition may be another's special case
