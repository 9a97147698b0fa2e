"""Min-p: not much less likely than the likeliest."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.min_p import MinP
from reference_filters import (
    INF,
    drawn_from,
    kept,
    kept_of,
)

from corelm import sampler, sampling_distribution
from corelm.testing import obeys_the_laws

EXAMPLE = "min_p(p=0.1)"


@obeys_the_laws(*(MinP(p=p) for p in (0, 1e-300, 0.05, 0.5, 1)))
def test_law(sampler, law):
    law(sampler)


HALF = [0.5, 0.25, 0.125, 0.125]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.25, HALF),
        (0.26, [2 / 3, 1 / 3, 0, 0]),
        (0.5, [2 / 3, 1 / 3, 0, 0]),
        (0.51, [1, 0, 0, 0]),
        (1, [1, 0, 0, 0]),
    ],
)
def test_tokens_p_times_as_likely_as_the_likeliest_stay(p, expected):
    assert drawn_from(MinP(p=p), HALF).tolist() == pytest.approx(expected, rel=1e-12)


def test_in_single_precision_too():
    p = drawn_from(MinP(p=0.4), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0], rel=1e-6)


@pytest.mark.parametrize(
    ("p", "share", "expected"),
    [
        ([0.5, 0.1, 0.4], 0.2, [0, 1, 2]),  # 0.1 is 0.2 times 0.5
        ([0.6, 0.06, 0.34], 0.1, [0, 1, 2]),
        ([0.6, 0.3, 0.1], 0.5, [0, 1]),  # here the logarithms miss it by their last bit
        ([0.8, 0.08, 0.12], 0.1, [0, 1, 2]),
        ([0.4, 0.08, 0.52 - 0.12, 0.12], 0.2, [0, 1, 2, 3]),
        ([0.4, 0.4, 0.2], 1, [0, 1]),
        ([0.1] * 10, 1, [*range(10)]),
        ([1.0], 1, [0]),
    ],
)
def test_a_product_of_decimals_that_is_met_is_enough(p, share, expected):
    assert kept_of(MinP(p=share), p) == expected


def test_before_a_high_temperature_it_keeps_less_than_after():
    logits = [3.0, 2.0, 1.0, 0.0]
    last = sampling_distribution(sampler("temperature(t=1.5) | min_p(p=0.1)"), logits)
    first = sampling_distribution(sampler("min_p(p=0.1) | temperature(t=1.5)"), logits)
    assert ((last > 0).tolist(), (first > 0).tolist()) == ([True] * 4, [True] * 3 + [False])


def test_it_is_safe_beyond_all_measure():
    assert kept(MinP(p=1e-300), np.array([1e30, 1e30, 0.0, -INF])) == [0, 1]
    assert kept(MinP(p=1e-300), np.array([0.0, -690.0, -700.0])) == [0, 1]
    assert kept(MinP(p=0.5), np.array([3e38, -3e38], np.float32)) == [0]
