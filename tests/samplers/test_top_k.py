"""Top-k: the k likeliest tokens."""

from __future__ import annotations

import numpy as np
import plain
import pytest
from corelm_samplers.top_k import TopK
from hypothesis import given
from hypothesis import strategies as st
from plain import (
    INF,
    ROWS,
    assert_batch_is_its_rows,
    assert_divergence_is_the_mass_removed,
    assert_entropy_does_not_rise,
    assert_permutes,
    assert_same,
    assert_survives_the_ends,
    assert_switched_off,
    drawn_from,
    kept,
    kept_of,
    on_random_rows,
)

from corelm.errors import ParameterError
from corelm.testing import obeys_the_laws


@obeys_the_laws(*(TopK(k=k) for k in (0, 1, 2, 5, 50, 10**9)))
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


def test_off_is_off():
    assert TopK().k == 0
    assert_switched_off(TopK())
    assert_switched_off(TopK(k=4))
    assert_switched_off(TopK(k=10**9))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "k must be at least 0, not -1"),
        (2.5, "k must be a whole number, not 2.5"),
        ("many", "k must be a whole number, not 'many'"),
    ],
)
def test_what_is_refused(value, message):
    with pytest.raises(ParameterError) as caught:
        TopK(k=value)
    assert str(caught.value) == message


# Against the plain version, and what is true of every filter


@on_random_rows
@pytest.mark.parametrize("value", [1, 2, 50, 299, 1100, 2600])
def test_it_equals_the_plain_version_on_random_rows(row, value):
    assert_same(TopK(k=value), row, plain.top_k(row, value))


@given(ROWS, st.integers(1, 9))
def test_it_equals_the_plain_version_on_edges(row, value):
    assert_same(TopK(k=value), row, plain.top_k(row, value))


@given(ROWS, st.integers(1, 9))
def test_the_divergence_from_the_model_is_the_mass_that_goes(row, value):
    assert_divergence_is_the_mass_removed(TopK(k=value), row)


@given(ROWS, st.integers(1, 9))
def test_the_entropy_does_not_rise(row, value):
    assert_entropy_does_not_rise(TopK(k=value), row)


@pytest.mark.parametrize("value", [1, 2, 50, 299, 1100, 2600])
def test_ids_mean_nothing_rows_are_alone_and_no_logit_is_too_large(value):
    assert_permutes(TopK(k=value))
    assert_batch_is_its_rows(TopK(k=value))
    assert_survives_the_ends(TopK(k=value))
