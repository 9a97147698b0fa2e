"""Top-a: a threshold that grows with the square of the largest probability."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_samplers.top_a import TopA
from reference_filters import drawn_from, kept, kept_of

from corelm.testing import obeys_the_laws

EXAMPLE = "top_a(a=0.5)"


@obeys_the_laws(*(TopA(a=a) for a in (0, 1e-300, 0.2, 1, 50)))
def test_law(sampler, law):
    law(sampler)


HALF = [0.5, 0.25, 0.125, 0.125]


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (0, HALF),
        (0.5, HALF),  # the threshold is 0.125, and what is at it stays
        (0.51, [2 / 3, 1 / 3, 0, 0]),
        (1, [2 / 3, 1 / 3, 0, 0]),
        (1.01, [1, 0, 0, 0]),
        (50, [1, 0, 0, 0]),  # above every probability: the most likely token stays
    ],
)
def test_the_threshold_is_a_times_the_largest_probability_squared(a, expected):
    assert drawn_from(TopA(a=a), HALF).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("most", "bar"), [(0.9, 0.162), (0.5, 0.05), (0.1, 0.002)])
def test_the_examples_of_its_author(most, bar):
    rest = (1 - most - bar - 0.99 * bar) / 20  # so many that each is less than the largest
    p = [most, bar, 0.99 * bar, *[rest] * 20] if rest > 0 else [most, 1 - most]
    expected = [i for i, x in enumerate(p) if x >= bar * (1 - 1e-9)]
    assert kept_of(TopA(a=0.2), p) == expected


def test_in_single_precision_too():
    p = drawn_from(TopA(a=0.6), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0], rel=1e-6)


@pytest.mark.parametrize("n", [1, 3, 1000])
def test_equal_tokens_all_stay(n):
    assert kept(TopA(a=1), np.full(n, 0.3)) == [*range(n)]


def test_a_token_of_nearly_all_probability_does_not_hide_the_ratio():
    row = np.array([0.0, -40.0, -50.0])
    assert kept(TopA(a=math.exp(-45)), row) == [0, 1]
