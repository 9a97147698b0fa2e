"""The places of tokens in the falling order of a row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelm.filters import likeliest_tokens
from corelm.numerics.filters import in_falling_order, rank

INF = float("inf")
LOGIT = st.floats(-30, 30) | st.sampled_from([0.0, 0.0, 1.0, -INF, -INF, 1e30, -1e30, 5e-324])
ROW = st.lists(LOGIT, min_size=1, max_size=60).filter(lambda row: max(row) > -INF).map(np.array)


@given(ROW)
def test_ranks_are_places_in_a_stable_sort(row):
    order = np.argsort(-row, kind="stable")
    assert [rank(row, int(token)) for token in order] == [*range(1, len(row) + 1)]
    assert in_falling_order(row, np.arange(len(row))).tolist() == order.tolist()


@given(ROW, st.integers(1, 80), st.sampled_from([np.float32, np.float64]))
def test_the_most_likely_tokens_are_the_first_of_a_stable_sort(row, k, dtype):
    row = row.astype(dtype)
    order = np.argsort(-row, kind="stable")[:k]
    assert likeliest_tokens(row, k).tolist() == order[row[order] > -INF].tolist()


@pytest.mark.parametrize("place", [0, 1, 4999, 5000, 39_999])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tie_is_decided_by_the_id_wherever_it_is(place, dtype):
    row = np.linspace(-9, -8, 40_000).astype(dtype)
    row[[place, 20_000, 20_001, 30_000]] = 5.0
    expected = sorted([place, 20_000, 20_001, 30_000])
    for k in (1, 2, 3, 4):
        assert likeliest_tokens(row, k).tolist() == expected[:k]


def test_many_ties_stay_in_the_order_of_their_ids():
    row = np.zeros(300)
    row[250] = 1.0
    tokens = np.arange(5, 300)
    assert in_falling_order(row, tokens).tolist() == [250, *range(5, 250), *range(251, 300)]


def test_the_rank_counts_earlier_ties():
    row = np.array([2.0, 3.0, 2.0, 3.0, 1.0])
    assert [rank(row, token) for token in range(5)] == [3, 1, 4, 2, 5]
