"""Eta: a probability that falls with the entropy."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.eta import Eta
from reference_filters import (
    drawn_from,
    kept,
    kept_of,
)

from corelm.testing import obeys_the_laws

EXAMPLE = "eta(epsilon=0.05)"


@obeys_the_laws(*(Eta(epsilon=e) for e in (0, 1e-300, 3e-4, 0.3, 0.99)))
def test_law(sampler, law):
    law(sampler)


HALF = [0.5, 0.25, 0.125, 0.125]


# The entropy is 1.75 bits, exp(-H) = 2 ** -1.75 = 0.2973.
@pytest.mark.parametrize(
    ("epsilon", "expected"),
    [
        (0.09, HALF),  # 0.3 * 0.2973 = 0.0892, less than epsilon
        (0.16, HALF),  # 0.4 * 0.2973 = 0.1189; sqrt(epsilon exp(-H)) would be 0.218 and cut
        (0.25, [2 / 3, 1 / 3, 0, 0]),  # 0.5 * 0.2973 = 0.1487
        (0.64, [2 / 3, 1 / 3, 0, 0]),  # 0.8 * 0.2973 = 0.2378
        (0.81, [1, 0, 0, 0]),  # 0.9 * 0.2973 = 0.2676
    ],
)
def test_eta_is_the_root_of_epsilon_times_exp_of_minus_the_entropy(epsilon, expected):
    assert drawn_from(Eta(epsilon=epsilon), HALF).tolist() == pytest.approx(expected, rel=1e-12)


def test_eta_is_epsilon_at_low_entropy():
    p = [0.97, 0.01, 0.01, 0.01]  # exp(-H) = 0.845, and 0.1 * 0.845 is more than 0.01
    assert kept_of(Eta(epsilon=0.01), p) == [0, 1, 2, 3]
    assert kept_of(Eta(epsilon=0.011), p) == [0]


def test_in_single_precision_too():
    p = drawn_from(Eta(epsilon=0.25), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0], rel=1e-6)


@pytest.mark.parametrize("n", [1, 3, 10, 49, 1000])
def test_equal_tokens_all_stay(n):
    assert kept(Eta(epsilon=0.99), np.full(n, 0.3)) == [*range(n)]
