"""Quadratic: a smooth curve instead of a cut."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.quadratic import Quadratic
from hypothesis import given
from hypothesis import strategies as st
from reference_filters import (
    INF,
    NOWHERE,
    ROWS,
    random_rows,
)


def bent(row, **parameters):
    return Quadratic(**parameters)(np.array([row]), NOWHERE)[0]


@pytest.mark.parametrize(
    ("factor", "curve", "expected"),
    [
        # d is 0, -1, -2; d^2 is 0, 1, 4; d^3 is 0, -1, -8
        (1, 1, [0, -1, -4]),  # k = 1, s = 0
        (0.5, 1, [0, -0.5, -2]),
        (0.5, 2, [0, -0.5, -3]),  # k = s = 1/2
        (0.5, 3, [0, -0.5, -4]),  # k = 0, s = 1
        (0.5, 1.5, [0, -0.5, -2.5]),  # k = 3/4, s = 1/4
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_curve(factor, curve, expected, dtype):
    row = np.array([5, 4, 3], dtype)
    result = bent(row, factor=factor, curve=curve)
    assert (result.tolist(), result.dtype) == (expected, dtype)


def test_a_curve_above_three_raises_the_runners_up():
    # k = -1, s = 2: at d = -1/4 it is 1/16 - 2/64 = 1/32, at d = -1 it is 1 - 2
    assert bent([0, -0.25, -1], factor=1, curve=5).tolist() == [-1 / 32, 0, -1 - 1 / 32]


def test_impossible_stays_impossible_and_the_likeliest_possible():
    for curve in (1, 2, 3, 10):
        for factor in (1e-300, 1e-40, 1, 1e300):
            result = bent(np.array([3, -INF, 3, -INF], np.float32), factor=factor, curve=curve)
            assert result.tolist() == [0, -INF, 0, -INF]


def test_a_factor_near_zero_is_uniform_and_not_off():
    assert bent([1.0, 0.0, -INF], factor=1e-300).tolist() == pytest.approx([0, 0, -INF])
    assert bent(np.array([1e30, 0], np.float32), factor=1e-60).tolist() == pytest.approx([0, -1])


def test_it_is_the_formula():
    for row in random_rows():
        d = row.astype(np.float64) - row.max()
        with np.errstate(invalid="ignore"):
            expected = np.where(row > -INF, -0.7 * 0.3 * d**2 + 0.3 * 0.3 * d**3, -INF)
        eps = 1e-5 if row.dtype == np.float32 else 1e-12
        assert np.allclose(bent(row, factor=0.3, curve=1.6), expected, rtol=eps, atol=eps)


@given(ROWS, st.floats(0.01, 10), st.floats(1, 3))
def test_up_to_a_cubic_the_order_of_the_tokens_stays(row, factor, curve):
    result = bent(row, factor=factor, curve=curve)
    assert (np.diff(result[np.argsort(row, kind="stable")][np.sort(row) > -INF]) >= 0).all()
