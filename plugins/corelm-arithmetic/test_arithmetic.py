"""Arithmetic sampling: codes worked out by hand, evenly spread texts, ancestral marginals."""

from collections import Counter

import corelm_arithmetic
import numpy as np
import pytest
from corelm_arithmetic import Arithmetic

import corelm
from corelm import RandomStream
from corelm.testing import ToyModel, g_test, obeys_the_laws, text_probabilities

A, B = 2, 3


@obeys_the_laws(Arithmetic())
def test_law(decoder, law):
    law(decoder)


def words(*probabilities):
    names = "abcd"[: len(probabilities)]
    return ToyModel([*names], np.log([1, 1, *probabilities]), end=False)


def texts(model, prompt="a", sampler="stochastic", length=2, n=1, seed=1):
    results = corelm.generate(
        model, prompt, sampler=sampler, length=length, n=n, seed=seed,
        decoder=Arithmetic(),
    )  # fmt: skip
    return [tuple(text.tokens) for text in results]


def test_the_text_of_a_code(monkeypatch):
    # a: [0, 0.25), b: [0.25, 1). Inside b, a: [0.25, 0.4375), b: [0.4375, 1).
    codes = np.array([0.0, 0.0624, 0.0626, 0.2499, 0.2501, 0.437, 0.438, 0.9999])
    monkeypatch.setattr(corelm_arithmetic, "_codes", lambda stream: codes)
    assert texts(words(0.25, 0.75), n=8) == [
        (A, A), (A, A), (A, B), (A, B), (B, A), (B, A), (B, B), (B, B),
    ]  # fmt: skip


def test_the_codes_are_the_van_der_corput_sequence_and_one_shift():
    shift = RandomStream(5, [0]).at(0)[0]
    expected = (np.array([0, 1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8]) + shift) % 1
    assert corelm_arithmetic._codes(RandomStream(5, range(6))) == pytest.approx(expected)
    assert corelm_arithmetic._codes(RandomStream(5, [4])) == pytest.approx(expected[[4]])


@pytest.mark.parametrize("seed", range(5))
def test_as_many_texts_as_their_probabilities_say(seed):
    """16 codes are 1 / 16 apart, so each interval of k / 16 holds k of them."""
    counts = Counter(texts(words(0.25, 0.75), n=16, seed=seed))
    assert counts == {(A, A): 1, (A, B): 3, (B, A): 3, (B, B): 9}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["temperature(t=1.5)", "top_k(k=3)", "mirostat(tau=1)"])
def test_each_text_is_distributed_as_with_ancestral_sampling(sampler):
    logits = np.random.default_rng(4).normal(size=(6, 6)).astype(np.float32)
    model = ToyModel(["a", "b", "c"], logits)
    expected = text_probabilities(model, "a", sampler=sampler, length=4)
    runs = [texts(model, sampler=sampler, length=4, n=7, seed=seed) for seed in range(400)]
    for sample in (0, 6):
        assert g_test(Counter(run[sample] for run in runs), expected) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("p", [(0.5, 0.5), (0.1, 0.2, 0.7), (0.999, 0.001)])
def test_the_bits_of_a_code_do_not_run_out(p):
    """A text of 130 tokens uses several times the 53 bits that its code has at first."""
    model = words(*p)
    expected = text_probabilities(model, "a", sampler="stochastic", length=3)
    counts = {start: Counter() for start in (60, 127)}
    for seed in range(20):
        stream, prompt = RandomStream(seed, range(64)), np.array([A])
        task = corelm.DecodingTask(model, prompt, corelm.sampler("stochastic"), stream, 130)
        results = np.array([step.tokens for step in Arithmetic()(task)])
        for start, count in counts.items():
            count.update(map(tuple, results[start : start + 3].T.tolist()))
    for count in counts.values():
        assert g_test(count, expected) > 1e-4


def test_a_token_of_almost_no_probability():
    """Its interval is narrower than the grid of the codes: the rest of the text is random."""
    logits = np.full((2, 4), -np.inf)
    logits[:, A], logits[:, B] = -60, 0
    tokens, codes = corelm_arithmetic._decode(logits, np.zeros(2), np.array([0.0, 0.25]))
    assert tokens.tolist() == [A, A]
    assert codes[0] == 0.0
    assert codes[1] == np.nextafter(1, 0)


def test_a_code_next_to_one():
    tokens, codes = corelm_arithmetic._decode(
        np.array([[0.0, -np.inf]]), np.array([np.nextafter(1, 0)]), np.array([0.9])
    )
    assert tokens.tolist() == [0]
    assert codes[0] < 1
