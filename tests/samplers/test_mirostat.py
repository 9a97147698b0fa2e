"""Mirostat: tokens of at most mu bits of surprise; mu follows what was drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_samplers.mirostat import Mirostat

from corelm import Context, generate, sampling_distribution
from corelm.testing import ToyModel

INF = float("inf")
BIT = math.log(2)
P = [0.5, 0.25, 0.125, 0.125]  # surprises of 1, 2, 3 and 3 bits
LOGITS = np.log([P])


def kept(mirostat, bits, prompt=0):
    """Return the ids that stay possible after drawn tokens with these surprisals, (batch, time)."""
    surprisal = np.atleast_2d(np.array(bits, dtype=float)) * BIT
    surprisal = np.pad(surprisal, ((0, 0), (prompt, 0)), constant_values=np.nan)
    context = Context.of(np.zeros(surprisal.shape, int), surprisal=surprisal, prompt_length=prompt)
    after = mirostat(np.repeat(LOGITS, len(surprisal), axis=0), context)
    return [np.flatnonzero(row > -INF).tolist() for row in after]


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        # mu is 2 tau at first
        (0, [1, 0, 0, 0]),
        (0.49, [1, 0, 0, 0]),
        (0.5, [1, 0, 0, 0]),
        (0.99, [1, 0, 0, 0]),
        (1, [2 / 3, 1 / 3, 0, 0]),
        (1.49, [2 / 3, 1 / 3, 0, 0]),
        (1.5, P),
        (5, P),
        (1e300, P),
    ],
)
def test_at_first_tokens_of_two_tau_bits_are_kept(tau, expected):
    p = sampling_distribution(Mirostat(tau=tau), LOGITS[0])
    assert p.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        # tau = 1, eta = 1/2: mu = 2 - sum(bits - 1) / 2
        ([1], [0, 1]),  # mu = 2
        ([2], [0]),  # mu = 1.5
        ([3], [0]),  # mu = 1
        ([0], [0, 1]),  # mu = 2.5
        ([0, 0], [0, 1, 2, 3]),  # mu = 3
        ([0, 0, 3], [0, 1]),  # mu = 2
        ([3, 0, 0], [0, 1]),  # mu = 2: a sum, in any order
        ([9, 9, 9], [0]),  # mu = -10: the likeliest stays
    ],
)
def test_mu_follows_the_surprise_of_the_drawn_tokens(bits, expected):
    assert kept(Mirostat(tau=1, eta=0.5), bits) == [expected]


def test_given_tokens_do_not_move_mu():
    assert kept(Mirostat(tau=1, eta=0.5), [3], prompt=5) == [[0]]
    assert kept(Mirostat(tau=1, eta=0.5), [], prompt=5) == [[0, 1]]


def test_every_row_has_its_own_mu():
    assert kept(Mirostat(tau=1, eta=0.5), [[0, 0], [2, 2]]) == [[0, 1, 2, 3], [0]]


def test_without_eta_mu_stays():
    assert kept(Mirostat(tau=1, eta=0), [9, 9]) == [[0, 1]]


def test_one_token_is_kept_the_lowest_id_on_ties():
    p = sampling_distribution(Mirostat(tau=0), [1.0, 2.0, 2.0])
    assert p.tolist() == [0, 1, 0]


@pytest.mark.slow
def test_the_surprise_of_a_text_is_tau():
    """Mu is bounded, and the mean surprise is tau + (2 tau - mu) / (eta n)."""
    ranks = np.arange(1, 301)
    model = ToyModel([f"w{r}" for r in ranks], [-INF, -INF, *-np.log(ranks)], end=False)
    for tau in (2.0, 4.0):
        [text] = generate(model, "w1", sampler=Mirostat(tau=tau), length=400, seed=3)
        bits = np.array([step.surprisal for step in text.steps]) / BIT
        assert bits.mean() == pytest.approx(tau, abs=0.2)
        plain = generate(model, "w1", sampler="stochastic", length=400, seed=3)[0]
        assert np.mean([step.surprisal for step in plain.steps]) / BIT > tau + 1
