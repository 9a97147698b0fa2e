"""The temperatures: softmax(logits / t), with a t that may follow the entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_filters import INF, NOWHERE, drawn_from, entropy_of, random_rows

from corelm import entropy, sampler, sampling_distribution

LN2 = math.log(2)
HALF = [0.5, 0.25, 0.125, 0.125]  # 1.75 bits of 2: seven eighths of the way
THREE_TO_ONE = [0.75, 0.25]
SHARE = 2 - 0.75 * math.log2(3)  # its entropy in bits, of 1: 0.8113
LOGITS = np.log(HALF)


def powers(p, t):
    raised = np.array(p) ** (1 / t)
    return (raised / raised.sum()).tolist()


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
    p = sampling_distribution(sampler("temperature", t=t), LOGITS)
    assert p.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("expression", "p", "t"),
    [
        # on the way from t_min to t_max
        ("dynamic_temperature(0.5, 1.5, exponent=1)", HALF, 1.375),
        ("dynamic_temperature(0.5, 1.5, exponent=2)", HALF, 0.5 + 49 / 64),
        ("dynamic_temperature(1.5, 0.5, exponent=1)", HALF, 0.625),
        ("dynamic_temperature(0, 2, exponent=1)", HALF, 1.75),
        ("dynamic_temperature(0.5, 1.5, exponent=0)", HALF, 1.5),
        ("dynamic_temperature(0.5, 1.5, exponent=1)", [*HALF, 0, 0, 0], 1.375),  # those in play
        ("dynamic_temperature(0, 1, exponent=1)", THREE_TO_ONE, SHARE),
        ("dynamic_temperature(0.1, 1.1, exponent=3)", THREE_TO_ONE, 0.1 + SHARE**3),
        ("dynamic_temperature(0.5, 3, exponent=5)", [0.25] * 4, 3),
        ("dynamic_temperature(0.7, 0.7, exponent=1)", HALF, 0.7),
        # t * base ** (theta / entropy)
        (f"edt(t=1, theta={1.75 * LN2}, base=0.8)", HALF, 0.8),  # theta is the entropy
        (f"edt(t=1.5, theta={3.5 * LN2}, base=0.8)", HALF, 1.5 * 0.64),
        (f"edt(t=1, theta={0.875 * LN2}, base=0.25)", HALF, 0.5),
        ("edt(t=0.7, theta=0, base=0.8)", HALF, 0.7),
        ("edt(t=0.7, theta=5, base=1)", HALF, 0.7),
        (f"edt(t=2, theta={2 * LN2}, base=0.5)", [0.25] * 4, 1),
        (f"edt(t=1, theta={1.75 * LN2}, base=0.8)", [*HALF, 0, 0], 0.8),
        ("edt(t=1, theta=0.1, base=0.8)", THREE_TO_ONE, 0.8 ** (0.1 / (LN2 * SHARE))),
    ],
)
def test_the_temperature_follows_the_entropy(expression, p, t):
    expected = powers(p, t)
    assert drawn_from(sampler(expression), p).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("expression", "t_of"),
    [
        (
            "dynamic_temperature(0.4, 1.5, exponent=1.5)",
            lambda nats, n: 0.4 + 1.1 * min(nats / math.log(n), 1) ** 1.5 if n > 1 else 1,
        ),
        ("edt(t=1.2, theta=0.6)", lambda nats, n: 1.2 * 0.8 ** (0.6 / nats) if nats > 0 else 0),
    ],
    ids=["dynamic_temperature", "edt"],
)
def test_it_is_a_temperature_of_the_entropy(expression, t_of):
    for row in random_rows():
        t = t_of(entropy_of(row), np.count_nonzero(row > -INF))
        result = sampler(expression)(row[None, :], NOWHERE)
        expected = sampler("temperature", t=t)(row[None, :], NOWHERE)
        tolerance = 1e-5 if row.dtype == np.float32 else 1e-9
        assert np.allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("expression", "t", "last"),
    [
        ("dynamic_temperature(0, 1)", SHARE, 1),
        (f"edt(theta={LN2}, base=0.5)", 2 ** (-1 / SHARE), 0.5),
    ],
)
def test_each_row_has_its_own_temperature(expression, t, last):
    rows = np.log([THREE_TO_ONE, [0.5, 0.5]])
    result = sampler(expression)(rows, NOWHERE)
    assert np.exp(result[0, 0] - result[0, 1]) == pytest.approx(3 ** (1 / t), rel=1e-12)
    assert result[1].tolist() == (rows[1] / last).tolist()


def test_certainty_at_temperature_zero_is_greedy():
    dynamic = sampler("dynamic_temperature(0, 2)")
    one = np.array([[-INF, 7.0, -INF]])
    assert np.array_equal(dynamic(one, NOWHERE), one)
    assert dynamic(np.array([[-1e30, 7.0]]), NOWHERE).tolist() == [[-INF, 0]]
    rows = np.array([[-INF, 7.0, -INF], [-1e30, 7.0, 7.0 - 1e4]])
    assert np.isfinite(sampler("edt")(rows, NOWHERE)).tolist() == [[False, True, False]] * 2


def test_an_uncertain_row_keeps_the_temperature_of_edt():
    row = np.linspace(0, 1e-3, 50_000)[None]
    change = sampler("edt", t=0.5, theta=1e-9)(row, NOWHERE) - row / 0.5
    assert np.abs(change).max() < 1e-9


def nats(row, t):
    return float(entropy(sampling_distribution(sampler("temperature", t=t), row)))


ROW = st.lists(
    st.floats(-30, 30) | st.sampled_from([0.0, 0.0, 1.0, -INF]), min_size=1, max_size=8
).filter(lambda row: max(row) > -INF)
T = st.floats(1e-3, 1e3)


@given(ROW, T, T)
def test_the_entropy_never_falls_as_the_temperature_rises(row, a, b):
    low, high = (nats(row, t) for t in sorted((a, b)))
    assert low <= high + 1e-12


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(0.3, 5))
def test_the_slope_of_the_entropy_is_the_variance_of_the_logits_over_t_cubed(row, t):
    p = sampling_distribution(sampler("temperature", t=t), row)
    variance = p @ np.square(row) - (p @ row) ** 2
    h = 1e-4 * t
    slope = (nats(row, t + h) - nats(row, t - h)) / (2 * h)
    assert slope == pytest.approx(variance / t**3, rel=1e-4, abs=1e-5)
