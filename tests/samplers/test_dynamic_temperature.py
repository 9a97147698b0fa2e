"""Dynamic temperature: low where the model is sure, high where it is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_samplers.dynamic_temperature import DynamicTemperature
from reference_filters import (
    INF,
    NOWHERE,
    drawn_from,
    entropy_of,
    random_rows,
)

from corelm import sampler


def powers(p, t):
    raised = np.array(p) ** (1 / t)
    return (raised / raised.sum()).tolist()


HALF = [0.5, 0.25, 0.125, 0.125]  # 1.75 bits of 2: seven eighths of the way
THREE_TO_ONE = [0.75, 0.25]
SHARE = 2 - 0.75 * math.log2(3)  # its entropy in bits, of 1: 0.8113


@pytest.mark.parametrize(
    ("p", "t_min", "t_max", "exponent", "t"),
    [
        (HALF, 0.5, 1.5, 1, 1.375),
        (HALF, 0.5, 1.5, 2, 0.5 + 49 / 64),
        (HALF, 1.5, 0.5, 1, 0.625),
        (HALF, 0, 2, 1, 1.75),
        (HALF, 0.5, 1.5, 0, 1.5),
        ([*HALF, 0, 0, 0], 0.5, 1.5, 1, 1.375),  # of the tokens in play
        (THREE_TO_ONE, 0, 1, 1, SHARE),
        (THREE_TO_ONE, 0.1, 1.1, 3, 0.1 + SHARE**3),
        ([0.25] * 4, 0.5, 3, 5, 3),
        (HALF, 0.7, 0.7, 1, 0.7),
    ],
)
def test_the_temperature_is_on_the_way_from_t_min_to_t_max(p, t_min, t_max, exponent, t):
    dynamic = DynamicTemperature(t_min=t_min, t_max=t_max, exponent=exponent)
    assert drawn_from(dynamic, p).tolist() == pytest.approx(powers(p, t), rel=1e-12)


def test_in_single_precision_too():
    p = drawn_from(DynamicTemperature(t_min=0.5, t_max=1.5), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx(powers(HALF, 1.375), rel=1e-5)


def test_one_token_in_play_is_unchanged():
    row = np.array([[-INF, 7.0, -INF]])
    assert np.array_equal(DynamicTemperature(t_min=0, t_max=2)(row, NOWHERE), row)


def test_certainty_at_temperature_zero_is_greedy():
    result = DynamicTemperature(t_min=0, t_max=2)(np.array([[-1e30, 7.0]]), NOWHERE)
    assert result.tolist() == [[-INF, 0]]


def test_each_row_has_its_own_temperature():
    rows = np.log([[0.75, 0.25], [0.5, 0.5]])
    result = DynamicTemperature(t_min=0, t_max=1)(rows, NOWHERE)
    assert np.exp(result[0, 1] - result[0, 0]) == pytest.approx(3 ** (-1 / SHARE), rel=1e-12)
    assert result[1].tolist() == rows[1].tolist()


def test_it_is_a_temperature_of_the_entropy():
    for row in random_rows():
        assert_is_a_temperature_of_the_entropy(row)


def assert_is_a_temperature_of_the_entropy(row):
    n = np.count_nonzero(row > -INF)
    share = min(entropy_of(row) / math.log(n), 1) if n > 1 else 0
    t = 0.4 + 1.1 * share**1.5 if n > 1 else 1
    result = DynamicTemperature(t_min=0.4, t_max=1.5, exponent=1.5)(row[None, :], NOWHERE)
    expected = sampler("temperature", t=t)(row[None, :], NOWHERE)
    tolerance = 1e-5 if row.dtype == np.float32 else 1e-9
    assert np.allclose(result, expected, rtol=tolerance, atol=tolerance)
