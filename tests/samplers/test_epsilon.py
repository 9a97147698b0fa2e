"""Epsilon: a fixed probability."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.epsilon import Epsilon
from reference_filters import (
    drawn_from,
    kept,
    kept_of,
)

from corelm.testing import obeys_the_laws

EXAMPLE = "epsilon(epsilon=0.01)"


@obeys_the_laws(*(Epsilon(epsilon=e) for e in (0, 1e-300, 3e-4, 0.3, 0.99)))
def test_law(sampler, law):
    law(sampler)


HALF = [0.5, 0.25, 0.125, 0.125]


@pytest.mark.parametrize(
    ("epsilon", "expected"),
    [
        (0.125, HALF),
        (0.13, [2 / 3, 1 / 3, 0, 0]),
        (0.25, [2 / 3, 1 / 3, 0, 0]),
        (0.3, [1, 0, 0, 0]),
        (0.6, [1, 0, 0, 0]),
    ],
)
def test_tokens_with_the_probability_stay(epsilon, expected):
    assert drawn_from(Epsilon(epsilon=epsilon), HALF).tolist() == pytest.approx(expected, rel=1e-12)


def test_in_single_precision_too():
    p = drawn_from(Epsilon(epsilon=0.2), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0], rel=1e-6)


@pytest.mark.parametrize(
    ("p", "epsilon", "expected"),
    [
        ([0.1] * 10, 0.1, [*range(10)]),
        ([1 / 49] * 49, 1 / 49, [*range(49)]),
        ([0.7, 0.2, 0.1], 0.1, [0, 1, 2]),
        ([0.25] * 4, 0.3, [0]),  # none is likely enough: the likeliest, the lowest id on ties
        ([0.2, 0.4, 0.4], 0.5, [1]),
    ],
)
def test_ties_in_decimals_and_ties_of_the_likeliest(p, epsilon, expected):
    assert kept_of(Epsilon(epsilon=epsilon), p) == expected


def test_huge_logits():
    assert kept(Epsilon(epsilon=0.5), np.array([1e30, 1e30, 0.0])) == [0, 1]
    assert kept(Epsilon(epsilon=0.51), np.array([1e30, 1e30, 0.0])) == [0]
