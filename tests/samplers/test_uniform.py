"""Uniform: every token still in play, equally likely."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_samplers.uniform import Uniform

from corelm import entropy, sampling_distribution
from corelm.testing import obeys_the_laws

INF = float("inf")


@obeys_the_laws(Uniform())
def test_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([1.0, 3.0, 2.0, -7.0], [0.25] * 4),
        ([1e30, -1e30, -INF, -INF], [0.5, 0.5, 0, 0]),
        ([-INF, 5.0], [0, 1]),
        ([0.0], [1]),
    ],
)
def test_possible_tokens_are_equally_likely(logits, expected):
    assert sampling_distribution(Uniform(), logits).tolist() == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 14_998])
def test_its_entropy_is_ln_of_the_tokens_in_play(n, dtype):
    logits = np.concatenate([np.linspace(-9, 9, n), [-INF, -INF]]).astype(dtype)
    p = sampling_distribution(Uniform(), logits.astype(np.float64))
    assert float(entropy(p)) == pytest.approx(math.log(n), abs=1e-12)
