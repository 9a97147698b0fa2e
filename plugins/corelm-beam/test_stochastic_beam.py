"""Stochastic beam search: draws without replacement, against the list of all texts."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from corelm_stochastic_beam import StochasticBeam, perturbed

import corelm
from corelm import ParameterError, RandomStream
from corelm.testing import ToyModel, g_test, obeys_the_laws, text_probabilities

A = 3
RUNS = 1000


@obeys_the_laws(StochasticBeam(width=2), StochasticBeam(width=50))
def test_law(decoder, law):
    law(decoder)


def model():
    return ToyModel(["a", "b"], np.random.default_rng(6).normal(size=(5, 5)))


def task_of(samples, seed=1, sampler="stochastic", length=3):
    stream, sampler = RandomStream(seed, range(samples)), corelm.sampler(sampler)
    return corelm.DecodingTask(model(), np.array([A]), sampler, stream, length)


def drawn(width, seed, *args, **options):
    """The texts drawn, in order, without their steps."""
    task = task_of(1, seed, *args, **options)
    return [tuple(text) for text in StochasticBeam(width=width)._search(task)]


def texts(width, n, **options):
    results = [() for _ in range(n)]
    for step in StochasticBeam(width=width)(task_of(n, **options)):
        for sample, token in zip(step.samples, step.tokens.tolist(), strict=True):
            results[sample] += (token,)
    return results


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "width"), [("stochastic", 2), ("repetition_penalty(penalty=1.5)", 3)]
)
def test_pairs_are_drawn_without_replacement(sampler, width):
    """The first text has p(i), the second p(j) / (1 - p(i)): each pair in its order counts."""
    p = text_probabilities(model(), "a", sampler=sampler, length=3)
    expected = {(i, j): p[i] * p[j] / (1 - p[i]) for i, j in permutations(p, 2)}
    counts = Counter(tuple(drawn(width, seed, sampler)[:2]) for seed in range(RUNS))
    assert g_test(counts, expected) > 1e-3


@pytest.mark.slow
def test_inclusion_probabilities_of_sets_of_three():
    p = text_probabilities(model(), "a", sampler="stochastic", length=2)
    expected = Counter()
    for i, j, k in permutations(p, 3):
        in_this_order = p[i] * p[j] / (1 - p[i]) * p[k] / (1 - p[i] - p[j])
        expected[tuple(sorted((i, j, k)))] += in_this_order
    counts = Counter(tuple(sorted(drawn(3, seed, length=2))) for seed in range(RUNS))
    assert sum(expected.values()) == pytest.approx(1)
    assert g_test(counts, expected) > 1e-3


def test_every_text_is_drawn_once_by_a_beam_as_wide_as_all():
    p = text_probabilities(model(), "a", sampler="stochastic", length=3)
    results = texts(width=len(p) + 5, n=len(p) + 5)
    assert Counter(results) == Counter([*p, *[()] * 5])
    assert results[len(p) :] == [()] * 5


def test_impossible_texts_are_not_drawn():
    results = texts(width=4, n=4, sampler="greedy")
    assert results[0]
    assert results[1:] == [()] * 3


def test_noise_on_condition_of_its_largest():
    """A row's largest sum equals its beginning's, and the order matches free noise."""
    rng = np.random.default_rng(1)
    log_p = corelm.log_softmax(rng.normal(size=(4, 30)) * 4)
    log_p[:, 7] = -np.inf
    noise, largest = rng.gumbel(size=log_p.shape), np.array([-3.0, 0.0, 2.0, 40.0])
    sums = perturbed(log_p, largest, noise)
    assert sums.max(axis=1) == pytest.approx(largest, abs=0)
    assert np.array_equal(np.argsort(sums), np.argsort(log_p + noise))
    assert (sums[:, 7] == -np.inf).all()
    free = (log_p + noise)[:, :7]
    z = (log_p + noise).max(axis=1, keepdims=True)
    written_out = -np.log(np.exp(-largest[:, None]) - np.exp(-z) + np.exp(-free))
    assert sums[:3, :7] == pytest.approx(written_out[:3], abs=1e-6)


def test_at_most_as_many_texts_as_the_beam_is_wide():
    with pytest.raises(ParameterError, match="width must be at least 5 to find 5 texts, not 4"):
        texts(width=4, n=5)
