"""Top-H: up to a share of the entropy."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.top_h import TopH
from reference_filters import (
    INF,
    drawn_from,
    kept,
)

from corelm.testing import obeys_the_laws

EXAMPLE = "top_h(h=0.8)"


@obeys_the_laws(*(TopH(h=h) for h in (0, 0.1, 0.5, 0.999, 1)))
def test_law(sampler, law):
    law(sampler)


HALF = [0.5, 0.25, 0.125, 0.125]


# The entropy is 1.75 bits; of the two likeliest tokens alone 0.9183, of the three 1.3788.
@pytest.mark.parametrize(
    ("h", "expected"),
    [
        (0, [1, 0, 0, 0]),
        (0.5, [1, 0, 0, 0]),  # 0.875
        (0.53, [2 / 3, 1 / 3, 0, 0]),  # 0.9275
        (0.78, [2 / 3, 1 / 3, 0, 0]),  # 1.365
        (0.79, [4 / 7, 2 / 7, 1 / 7, 0]),  # 1.3825
        (0.99, [4 / 7, 2 / 7, 1 / 7, 0]),
        (1, HALF),
    ],
)
def test_the_prefix_grows_while_its_entropy_is_at_most_h_times_the_whole(h, expected):
    assert drawn_from(TopH(h=h), HALF).tolist() == pytest.approx(expected, rel=1e-12)


def test_in_single_precision_too():
    p = drawn_from(TopH(h=0.6), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0], rel=1e-6)


@pytest.mark.parametrize(
    ("n", "h", "count"),
    [
        (4, 0.49, 1),
        (4, 0.5, 2),  # ln 2 is half of ln 4
        (4, 0.79, 2),
        (4, 0.8, 3),  # ln 3 is 0.792 times ln 4
        (1000, 1 / 3, 10),
        (1000, 2 / 3, 100),
        (1, 0, 1),
    ],
)
def test_of_equal_tokens_the_lowest_ids_stay(n, h, count):
    assert kept(TopH(h=h), np.full(n, 0.3)) == [*range(count)]


def test_tokens_too_unlikely_to_count_do_not_stay():
    assert kept(TopH(h=0.9), np.array([0.0, -1e30, -INF])) == [0]


def test_the_others_still_count_if_one_token_is_nearly_certain():
    # entropies of a few 1e-18, too small to be seen next to the certain token's weight
    row = np.array([0.0, -45.0, -45.0, -45.0, -45.0])
    assert [len(kept(TopH(h=h), row)) for h in (0.2, 0.3, 0.6, 0.8, 0.99)] == [1, 2, 3, 4, 4]
