"""Top-k: the k likeliest tokens."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.top_k import TopK
from reference_filters import (
    INF,
    drawn_from,
    kept,
    kept_of,
)

from corelm.testing import obeys_the_laws

EXAMPLE = "top_k(k=40)"


@obeys_the_laws(*(TopK(k=k) for k in (0, 1, 5, 10**9)))
def test_law(sampler, law):
    law(sampler)


FALLING = [0.4, 0.3, 0.2, 0.1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [1, 0, 0, 0]),
        (2, [4 / 7, 3 / 7, 0, 0]),
        (3, [4 / 9, 3 / 9, 2 / 9, 0]),
        (4, FALLING),
        (5, FALLING),
        (10**9, FALLING),
    ],
)
def test_the_k_largest_stay(k, expected, dtype):
    p = drawn_from(TopK(k=k), FALLING, dtype)
    assert p.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("p", "k", "expected"),
    [
        ([0.25, 0.25, 0.25, 0.25], 2, [0, 1]),
        ([0.1, 0.3, 0.3, 0.3], 2, [1, 2]),
        ([0.2, 0.4, 0.2, 0.2], 2, [0, 1]),
        ([0.2, 0.4, 0.2, 0.2], 3, [0, 1, 2]),
        ([0.3, 0.1, 0.3, 0.3], 1, [0]),
        ([1.0], 1, [0]),
    ],
)
def test_of_equal_tokens_the_lowest_ids_stay_and_exactly_k(p, k, expected):
    assert kept_of(TopK(k=k), p) == expected


@pytest.mark.parametrize("k", [1, 3, 50, 400])
def test_ties_are_exact_in_a_large_vocabulary_too(k):
    row = np.zeros(30_000)
    row[-2:] = 1.0
    assert kept(TopK(k=k + 2), row) == [*range(k), 29_998, 29_999]


def test_impossible_tokens_are_not_counted():
    assert kept(TopK(k=3), np.array([1.0, -INF, 3.0, -INF, -INF])) == [0, 2]
