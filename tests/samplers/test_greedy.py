"""Greedy: all on the likeliest token, the lowest id on ties."""

from __future__ import annotations

import pytest
from corelm_samplers.greedy import Greedy

from corelm import entropy, sampling_distribution
from corelm.testing import obeys_the_laws


@obeys_the_laws(Greedy())
def test_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([1.0, 3.0, 2.0], [0, 1, 0]),
        ([2.0, 3.0, 3.0], [0, 1, 0]),
        ([7.0, 7.0, 7.0], [1, 0, 0]),
        ([float("-inf"), -1e30, -2e30], [0, 1, 0]),
        ([0.0], [1]),
    ],
)
def test_the_likeliest_is_certain(logits, expected):
    assert sampling_distribution(Greedy(), logits).tolist() == expected


def test_its_entropy_is_zero():
    assert float(entropy(sampling_distribution(Greedy(), [0.1, 0.2, 0.3]))) == 0.0
