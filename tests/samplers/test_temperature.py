"""Temperature: softmax(logits / t), exact at its ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_samplers.temperature import Temperature
from hypothesis import given
from hypothesis import strategies as st

from corelm import Context, entropy, sampling_distribution
from corelm.numerics.distributions import entropy_of_logits

INF = float("inf")
HALF = [0.5, 0.25, 0.125, 0.125]
LOGITS = np.log(HALF)
NOWHERE = Context.of([[0]])


@pytest.mark.parametrize(
    ("t", "expected"),
    [
        # the powers 1/t of (4, 2, 1, 1)/8, normalised
        (0, [1, 0, 0, 0]),
        (1e-300, [1, 0, 0, 0]),
        (0.5, [16 / 22, 4 / 22, 1 / 22, 1 / 22]),
        (1, HALF),
        (2, [2 / (4 + 2**0.5), 2**0.5 / (4 + 2**0.5), 1 / (4 + 2**0.5), 1 / (4 + 2**0.5)]),
        (1e300, [0.25] * 4),
        (INF, [0.25] * 4),
    ],
)
def test_the_distribution_is_raised_to_the_power_of_one_over_t(t, expected):
    p = sampling_distribution(Temperature(t=t), LOGITS)
    assert p.tolist() == pytest.approx(expected, rel=1e-12)


ROW = st.lists(
    st.floats(-30, 30) | st.sampled_from([0.0, 0.0, 1.0, -INF]), min_size=1, max_size=8
).filter(lambda row: max(row) > -INF)
T = st.floats(1e-3, 1e3)


@given(ROW, T, T)
def test_the_entropy_never_falls_as_the_temperature_rises(row, a, b):
    logits = np.array([row])
    low, high = (
        float(entropy_of_logits(Temperature(t=t)(logits, NOWHERE))[0]) for t in sorted((a, b))
    )
    assert low <= high + 1e-12


def test_the_entropy_rises_from_zero_to_ln_n():
    temperatures = [0, 0.1, 0.2, 0.5, 0.7, 1.0, 1.5, 3.0, 100.0, INF]
    entropies = [
        float(entropy(sampling_distribution(Temperature(t=t), LOGITS))) for t in temperatures
    ]
    assert entropies == sorted(set(entropies))
    assert entropies[0] == 0.0
    assert entropies[5] == pytest.approx(1.75 * math.log(2), abs=1e-12)
    assert entropies[-1] == pytest.approx(math.log(4), abs=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(0.3, 5))
def test_the_slope_of_the_entropy_is_the_variance_of_the_logits_over_t_cubed(row, t):
    logits = np.array([row])

    def nats(t):
        return float(entropy_of_logits(Temperature(t=t)(logits, NOWHERE))[0])

    p = sampling_distribution(Temperature(t=t), logits)[0]
    variance = p @ np.square(row) - (p @ row) ** 2
    h = 1e-4 * t
    slope = (nats(t + h) - nats(t - h)) / (2 * h)
    assert slope == pytest.approx(variance / t**3, rel=1e-4, abs=1e-5)
