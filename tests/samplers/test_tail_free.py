"""Tail-free: up to a share of the curvature of the sorted probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.tail_free import TailFree
from reference_filters import INF, drawn_from, kept, kept_of

from corelm.testing import obeys_the_laws

EXAMPLE = "tail_free(z=0.95)"


@obeys_the_laws(*(TailFree(z=z) for z in (0, 0.1, 0.5, 0.97, 1)))
def test_law(sampler, law):
    law(sampler)


# First differences -0.2, -0.1, -0.06, -0.03, second ones 0.1, 0.04, 0.03: shares 10, 4 and 3 of 17.
CURVE = [0.43, 0.23, 0.13, 0.07, 0.04]


@pytest.mark.parametrize(
    ("z", "count"),
    [
        (0, 1),
        (0.58, 1),  # 10 / 17 is 0.588
        (0.59, 2),
        (0.82, 2),  # 14 / 17 is 0.8235
        (0.83, 3),
        (0.999, 3),
        (1, 5),
    ],
)
def test_the_cut_is_in_the_middle_of_the_difference_that_exceeds_z(z, count):
    p = np.array(CURVE) / sum(CURVE)
    expected = np.where(np.arange(5) < count, p, 0)
    assert drawn_from(TailFree(z=z), p).tolist() == pytest.approx(expected / expected.sum())


def test_a_share_that_meets_z_stays():
    p = [0.5, 0.3, 0.2, 0.0]  # second differences 0.1 and -0.1
    assert kept_of(TailFree(z=0.5), p) == [0, 1]
    assert kept_of(TailFree(z=0.49), p) == [0]


def test_impossible_tokens_have_probability_0():
    row = np.log(np.array([0.6, 0.4]))
    # Second differences of 0.6, 0.4, 0, 0: 0.2 and 0.4.
    assert kept(TailFree(z=0.3), np.append(row, [-INF, -INF])) == [0]
    assert kept(TailFree(z=0.34), np.append(row, [-INF, -INF])) == [0, 1]
    assert kept(TailFree(z=0.34), np.append(row, [-INF] * 50)) == [0, 1]


def test_in_single_precision_too():
    p = drawn_from(TailFree(z=0.6), CURVE, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx([43 / 66, 23 / 66, 0, 0, 0], rel=1e-6)


@pytest.mark.parametrize("row", [[0.5], [0.5, 0.5], [0.9, 0.1], [0.25] * 4, [3 / 6, 2 / 6, 1 / 6]])
def test_equal_probabilities_or_a_line_of_them_have_no_tail(row):
    assert kept_of(TailFree(z=0.01), row) == [*range(len(row))]


def test_of_equal_tokens_the_lowest_ids_stay():
    row = np.array(
        [0.0, 5.0, 0.0, 5.0, 0.0, -INF]
    )  # the differences at both edges are nearly equal
    assert kept(TailFree(z=0.3), row) == [1]
    assert kept(TailFree(z=0.6), row) == [1, 3]
