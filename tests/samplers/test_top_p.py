"""Top-p: the nucleus."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.top_p import TopP
from reference_filters import (
    INF,
    drawn_from,
    kept,
    kept_of,
)

from corelm.testing import obeys_the_laws

EXAMPLE = "top_p(p=0.9)"


@obeys_the_laws(*(TopP(p=p) for p in (0, 1e-9, 0.5, 1 - 1e-9, 1)))
def test_law(sampler, law):
    law(sampler)


HALF = [0.5, 0.25, 0.125, 0.125]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0, [1, 0, 0, 0]),
        (0.5, [1, 0, 0, 0]),
        (0.51, [2 / 3, 1 / 3, 0, 0]),
        (0.75, [2 / 3, 1 / 3, 0, 0]),
        (0.76, [4 / 7, 2 / 7, 1 / 7, 0]),
        (0.875, [4 / 7, 2 / 7, 1 / 7, 0]),
        (0.9, HALF),
        (1, HALF),
    ],
)
def test_the_token_that_crosses_p_stays(p, expected):
    assert drawn_from(TopP(p=p), HALF).tolist() == pytest.approx(expected, rel=1e-12)


def test_in_single_precision_too():
    p = drawn_from(TopP(p=0.7), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0], rel=1e-6)


@pytest.mark.parametrize(
    ("p", "share", "expected"),
    [
        ([0.125, 0.5, 0.125, 0.25], 0.76, [0, 1, 3]),
        ([0.25, 0.25, 0.25, 0.25], 0.5, [0, 1]),
        ([0.25, 0.25, 0.25, 0.25], 0, [0]),
        ([0.2, 0.6, 0.2], 0.7, [0, 1]),
        ([1.0], 0.3, [0]),
    ],
)
def test_of_equal_tokens_the_lowest_ids_stay(p, share, expected):
    assert kept_of(TopP(p=share), p) == expected


@pytest.mark.parametrize(
    ("p", "share", "count"),
    [
        ([0.1] * 10, 0.3, 3),  # 0.1 + 0.1 + 0.1 is more than 0.3
        ([0.1] * 10, 0.8, 8),  # eight times 0.1 is less than 0.8
        ([0.7, 0.1, 0.1, 0.1], 0.8, 2),  # and so is 0.7 + 0.1
        ([0.01] * 100, 0.07, 7),
        ([1 / 49] * 49, 48 / 49, 48),
    ],
)
def test_a_sum_of_decimals_that_meets_p_is_enough(p, share, count):
    assert kept_of(TopP(p=share), p) == list(range(count))


def test_impossible_tokens_stay_impossible():
    assert kept(TopP(p=0.999), np.array([-INF, 0.0, -INF, -1.0])) == [1, 3]


@pytest.mark.parametrize("count", [300, 3000, 30_000])
def test_a_flat_nucleus_of_any_size_is_exact(count):
    row = np.zeros(40_000)
    assert kept(TopP(p=count / 40_000), row) == list(range(count))
