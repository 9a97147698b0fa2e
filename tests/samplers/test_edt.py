"""EDT: a temperature of t * base ** (theta / entropy)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_samplers.edt import EDT
from reference_filters import INF, NOWHERE, drawn_from, entropy_of, random_rows

from corelm import sampler


def powers(p, t):
    raised = np.array(p) ** (1 / t)
    return (raised / raised.sum()).tolist()


LN2 = math.log(2)
HALF = [0.5, 0.25, 0.125, 0.125]  # 1.75 bits


@pytest.mark.parametrize(
    ("p", "t", "theta", "base", "expected"),
    [
        (HALF, 1, 1.75 * LN2, 0.8, 0.8),  # theta is the entropy: t times the base
        (HALF, 1.5, 3.5 * LN2, 0.8, 1.5 * 0.64),
        (HALF, 1, 0.875 * LN2, 0.25, 0.5),
        (HALF, 0.7, 0, 0.8, 0.7),
        (HALF, 0.7, 5, 1, 0.7),
        ([0.25] * 4, 2, 2 * LN2, 0.5, 1),
        ([*HALF, 0, 0], 1, 1.75 * LN2, 0.8, 0.8),
        ([0.75, 0.25], 1, 0.1, 0.8, 0.8 ** (0.1 / (LN2 * (2 - 0.75 * math.log2(3))))),
    ],
)
def test_the_temperature_follows_the_entropy(p, t, theta, base, expected):
    edt = EDT(t=t, theta=theta, base=base)
    assert drawn_from(edt, p).tolist() == pytest.approx(powers(p, expected), rel=1e-12)


def test_in_single_precision_too():
    p = drawn_from(EDT(theta=1.75 * LN2), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx(powers(HALF, 0.8), rel=1e-5)


def test_a_certain_row_is_greedy():
    rows = np.array([[-INF, 7.0, -INF], [-1e30, 7.0, 7.0 - 1e4]])
    assert np.isfinite(EDT()(rows, NOWHERE)).tolist() == [[False, True, False]] * 2


def test_an_uncertain_row_keeps_its_temperature():
    row = np.linspace(0, 1e-3, 50_000)[None]
    change = EDT(t=0.5, theta=1e-9)(row, NOWHERE) - row / 0.5
    assert np.abs(change).max() < 1e-9


def test_each_row_has_its_own_temperature():
    rows = np.log([[0.75, 0.25], [0.5, 0.5]])
    result = EDT(theta=LN2, base=0.5)(rows, NOWHERE)
    share = LN2 / entropy_of(rows[0])
    assert np.exp(result[0, 0] - result[0, 1]) == pytest.approx(3 ** (2**share), rel=1e-12)
    assert result[1].tolist() == (rows[1] / 0.5).tolist()


def test_it_is_a_temperature_of_the_entropy():
    for row in random_rows():
        entropy = entropy_of(row)
        t = 1.2 * 0.8 ** (0.6 / entropy) if entropy > 0 else 0
        result = EDT(t=1.2, theta=0.6)(row[None, :], NOWHERE)
        expected = sampler("temperature", t=t)(row[None, :], NOWHERE)
        tolerance = 1e-5 if row.dtype == np.float32 else 1e-9
        assert np.allclose(result, expected, rtol=tolerance, atol=tolerance)
