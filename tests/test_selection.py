"""Selection without sorting: equal to sorting, and without its cost."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelm.numerics import selection
from corelm.numerics.selection import (
    at_least,
    by_rows,
    falling_logits,
    filter_each_row,
    filter_logits,
    first_tokens,
    first_where,
    in_falling_order,
    largest_tokens,
    rank,
    tokens_within,
)

INF = float("inf")
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LOGIT = st.floats(-30, 30) | st.sampled_from([0.0, 0.0, 1.0, -INF, -INF, 1e30, -1e30, 5e-324])
ROW = st.lists(LOGIT, min_size=1, max_size=60).filter(lambda row: max(row) > -INF).map(np.array)
SIZES = (1, 2, 130, 2047, 2048, 5003, 60_000)


def rows_to_try(size, dtype, batch=3):
    rng = np.random.default_rng(size)
    yield rng.normal(0, 3, (batch, size)).astype(dtype)
    yield rng.integers(0, 5, (batch, size)).astype(dtype)
    yield np.zeros((batch, size), dtype)
    holes = rng.normal(0, 3, (batch, size)).astype(dtype)
    holes[rng.random((batch, size)) < 0.95] = -INF
    holes[:, size // 3] = 0
    yield holes
    yield np.sort(rng.normal(0, 3, (batch, size)).astype(dtype))


# By rows


@pytest.mark.parametrize("parallel", [0, 10**9])
@pytest.mark.parametrize("cached", [1, 20, 10**9])
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_all_rows_are_written_once_however_they_are_cut(monkeypatch, parallel, cached, batch):
    monkeypatch.setattr(selection, "PARALLEL", parallel)
    monkeypatch.setattr(selection, "CACHED", cached)
    logits = np.arange(batch * 9, dtype=np.float32).reshape(batch, 9)
    logits.flags.writeable = False
    seen = []

    def write(rows, out):
        seen.extend(rows[:, 0].tolist())
        np.multiply(rows, 2, out=out)

    result = by_rows(logits, write)
    assert np.array_equal(result, logits * 2)
    assert (result.dtype, sorted(seen)) == (np.float32, logits[:, 0].tolist())


def test_what_goes_wrong_on_a_thread_comes_back(monkeypatch):
    monkeypatch.setattr(selection, "PARALLEL", 0)
    monkeypatch.setattr(selection, "CACHED", 1)

    def write(rows, out):
        raise ZeroDivisionError("row 1")

    with pytest.raises(ZeroDivisionError, match="row 1"):
        by_rows(np.zeros((3, 4)), write)


def test_rows_that_are_views_of_one_are_filtered_as_well():
    rows = np.broadcast_to(np.array([1.0, 3.0, 2.0]), (4, 3))
    filtered = filter_logits(rows, lambda some: np.flatnonzero(some > 1.5))
    assert filtered.tolist() == [[-INF, 3, 2]] * 4


def test_a_filter_of_each_row_gets_one_row_and_gives_its_own_ids():
    rows = np.array([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]])
    filtered = filter_each_row(rows, lambda row: np.array([row.argmax(), 1]))
    assert filtered.tolist() == [[-INF, 2, 3], [6, 5, -INF]]


# Within some nats of the likeliest


def test_within_is_met_by_a_tie_in_decimals():
    rows = np.log([[0.5, 0.1, 0.4], [0.1, 0.1, 0.8]])
    assert tokens_within(rows, -math.log(0.2)).tolist() == [0, 1, 2, 5]
    assert tokens_within(rows, [math.log(2), math.log(8)]).tolist() == [0, 2, 3, 4, 5]


def test_within_less_than_nothing_is_the_likeliest_alone():
    rows = np.array([[1.0, 3.0, 3.0], [1.0, 3.0, 3.0], [1e30, 1e30, 0.0]])
    assert tokens_within(rows, [-0.1, 0, -0.1]).tolist() == [1, 4, 5, 6]


def test_within_without_bound_is_all_that_is_in_play():
    assert tokens_within(np.array([[0.0, -1e300, -INF]]), INF).tolist() == [0, 1]
    assert tokens_within(np.array([[0.0, -3e38, -INF]], np.float32), INF).tolist() == [0, 1]


def test_a_threshold_between_two_single_precision_numbers_is_exact():
    below = np.nextafter(np.float32(-1), np.float32(-2))
    rows = np.array([[0, -1, below]], np.float32)
    for nats in (1, 1 + 1e-9, 1 - float(below) / 2 - 0.5):
        expected = [0, 1] if nats < -float(below) else [0, 1, 2]
        assert tokens_within(rows, nats).tolist() == expected
    assert tokens_within(rows, 1 - 1e-9).tolist() == [0]
    assert tokens_within(rows, -float(below)).tolist() == [0, 1, 2]


# The largest


@BOTH
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("k", [1, 2, 7, 50, 900])
def test_the_largest_are_the_first_of_a_stable_sort(size, k, dtype):
    for rows in rows_to_try(size, dtype):
        count = min(k, size)
        order = np.argsort(-rows, axis=-1, kind="stable")[:, :count]
        tokens = (order + np.arange(len(rows))[:, None] * size)[
            np.take_along_axis(rows, order, axis=-1) > -INF
        ]
        assert np.sort(largest_tokens(rows, count)).tolist() == np.sort(tokens).tolist()


@given(ROW, st.integers(1, 60))
def test_the_largest_of_odd_rows(row, k):
    count = min(k, len(row))
    order = np.argsort(-row, kind="stable")[:count]
    assert sorted(largest_tokens(row[None, :], count)) == sorted(order[row[order] > -INF])


@pytest.mark.parametrize("place", [0, 1, 4999, 5000, 39_999])
def test_a_tie_outside_the_candidates_is_found_where_its_id_is_lower(place):
    row = np.linspace(-9, -8, 40_000)
    row[[place, 20_000, 20_001, 30_000]] = 5.0
    expected = sorted([place, 20_000, 20_001, 30_000])
    for k in (1, 2, 3, 4):
        assert sorted(largest_tokens(row[None, :], k)) == expected[:k]


@given(ROW, st.integers(1, 60))
def test_the_first_tokens_of_a_row(row, count):
    order = np.argsort(-row, kind="stable")
    order = order[row[order] > -INF][:count]
    assert first_tokens(row, row[order[-1]], len(order)).tolist() == sorted(order)


# Falling


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_falling_prefixes_are_those_of_a_sorted_row_and_end_with_all_of_it(size, dtype):
    for rows in rows_to_try(size, dtype, batch=1):
        expected = np.sort(rows[0][rows[0] > -INF])[::-1]
        for prefix in falling_logits(rows[0]):
            assert np.array_equal(prefix, expected[: len(prefix)])
            assert prefix.flags.c_contiguous
            assert np.count_nonzero(expected >= prefix[-1]) == len(prefix), "a tie was cut"
        assert len(prefix) == len(expected)


@given(ROW)
def test_ranks_are_places_in_a_stable_sort(row):
    order = np.argsort(-row, kind="stable")
    assert [rank(row, int(token)) for token in order] == [*range(1, len(row) + 1)]
    assert in_falling_order(row, np.arange(len(row))).tolist() == order.tolist()


def test_who_needs_few_is_given_few():
    row = np.random.default_rng(0).normal(0, 3, 256_000).astype(np.float32)
    lengths = [len(prefix) for prefix in falling_logits(row)]
    assert lengths[0] < 2 * selection.FIRST
    grown = [later / earlier for earlier, later in pairwise(lengths[:-1])]
    assert grown
    assert all(2 < times < 2 * selection.GROWTH for times in grown)


@pytest.mark.parametrize("size", [5000, 256_000])
def test_what_is_looked_at_is_not_quadratic_even_in_a_flat_row(size):
    for row in (np.zeros(size), np.arange(size) % 3.0, np.random.default_rng(0).random(size)):
        assert sum(len(prefix) for prefix in falling_logits(row)) <= 8 * size


# Running sums


@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 256, 1000])
def test_the_first_place_is_that_of_a_plain_running_sum(size):
    rng = np.random.default_rng(size)
    terms = rng.integers(0, 9, size).astype(np.float32)
    sums = terms.cumsum()
    for target in (0.0, 0.5, 1.0, sums[-1] / 3, sums[-1] - 0.5, sums[-1], sums[-1] + 1):
        assert first_where(terms, lambda s, t=target: s >= t) == int((sums < target).sum())


def test_several_sums_at_once():
    terms = np.stack([np.ones(300), np.arange(300.0)])
    place = first_where(terms, lambda sums: sums[1] / sums[0] >= 100)
    assert place == 200  # the mean of 0 to 200 is 100


def test_sums_are_in_double_precision():
    terms = np.full(2**18, 0.1, np.float32)
    exact = float(np.float32(0.1)) * 200_000
    assert first_where(terms, lambda sums: sums >= exact * (1 - 1e-13)) == 199_999


def test_a_bar_is_reached_but_for_rounding():
    assert at_least(0.1 + 0.7, 0.8)
    assert at_least([0.3, 0.3 - 1e-11, 0.0], [0.1 + 0.2, 0.3, 0.0]).tolist() == [True, False, True]
