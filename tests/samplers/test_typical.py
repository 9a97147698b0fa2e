"""Typical: about as surprising as one expects."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.typical import Typical
from reference_filters import (
    drawn_from,
    kept,
    kept_of,
)

from corelm.testing import obeys_the_laws

EXAMPLE = "typical(p=0.8)"


@obeys_the_laws(*(Typical(p=p) for p in (1e-9, 0.2, 0.5, 0.95, 1)))
def test_law(sampler, law):
    law(sampler)


HALF = [0.5, 0.25, 0.125, 0.125]


# The surprisals are 1, 2, 3 and 3 bits, the entropy 1.75: they are 0.75, 0.25, 1.25, 1.25 off.
@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.2, [0, 1, 0, 0]),
        (0.25, [0, 1, 0, 0]),
        (0.26, [2 / 3, 1 / 3, 0, 0]),
        (0.75, [2 / 3, 1 / 3, 0, 0]),
        (0.8, [4 / 7, 2 / 7, 1 / 7, 0]),
        (0.875, [4 / 7, 2 / 7, 1 / 7, 0]),
        (0.9, HALF),
        (1, HALF),
    ],
)
def test_the_most_typical_tokens_stay(p, expected):
    assert drawn_from(Typical(p=p), HALF).tolist() == pytest.approx(expected, rel=1e-12)


def test_in_single_precision_too():
    p = drawn_from(Typical(p=0.7), HALF, np.float32)
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0], rel=1e-6)


@pytest.mark.parametrize(
    ("p", "share", "expected"),
    [
        # surprisals 1.32 and 3.32 bits, entropy 2.52: the likeliest token is the odd one out
        ([0.4, *[0.1] * 6], 0.3, [1, 2, 3]),
        ([0.4, *[0.1] * 6], 0.6, [1, 2, 3, 4, 5, 6]),
        ([0.4, *[0.1] * 6], 0.7, [0, 1, 2, 3, 4, 5, 6]),
        # one bit and two bits are both half a bit off 1.5: a tie across the entropy
        ([0.5, 0.25, 0.25], 0.5, [0]),
        ([0.5, 0.25, 0.25], 0.6, [0, 1]),
        ([0.25, 0.5, 0.25], 0.2, [0]),
        ([0.25, 0.5, 0.25], 0.5, [0, 1]),
        ([0.25, 0.25, 0.25, 0.25], 0.5, [0, 1]),
        ([0.1] * 10, 0.8, [*range(8)]),
        ([1.0], 0.1, [0]),
    ],
)
def test_equal_tokens_tie_and_the_lowest_ids_stay(p, share, expected):
    assert kept_of(Typical(p=share), p) == expected


@pytest.mark.parametrize("count", [300, 3000, 30_000])
def test_a_flat_row_of_any_size_is_exact(count):
    assert kept(Typical(p=count / 40_000), np.full(40_000, 0.7)) == [*range(count)]
