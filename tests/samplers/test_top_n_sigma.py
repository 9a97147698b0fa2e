"""Top-n-sigma: within n deviations of the largest logit."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.top_n_sigma import TopNSigma
from reference_filters import (
    INF,
    kept,
)

from corelm import Context, sampler
from corelm.testing import obeys_the_laws


@obeys_the_laws(*(TopNSigma(n=n) for n in (0, 0.5, 1, 1e300, INF)))
def test_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("logits", "n", "expected"),
    [
        # 4, 3, 2, 1 deviate by the root of 1.25, which is 1.118
        ([4, 3, 2, 1], 0, [0]),
        ([4, 3, 2, 1], 0.5, [0]),
        ([4, 3, 2, 1], 1, [0, 1]),
        ([4, 3, 2, 1], 2, [0, 1, 2]),
        ([4, 3, 2, 1], 3, [0, 1, 2, 3]),
        # 2, 0, 0, 2 deviate by 1
        ([2, 0, 0, 2], 0, [0, 3]),
        ([2, 0, 0, 2], 1.9, [0, 3]),
        ([2, 0, 0, 2], 2, [0, 1, 2, 3]),
        # what is out of play does not count
        ([2, 0, -INF, -INF, 0, 2], 1.9, [0, 5]),
        ([2, 0, -INF, -INF, 0, 2], 2, [0, 1, 4, 5]),
        # the population's deviation of 4 and 2 is 1; a sample's would be 1.41
        ([4, 2], 1.5, [0]),
        ([4, 2], 2, [0, 1]),
        ([7], 0, [0]),
        ([7, 7, 7], 0, [0, 1, 2]),
    ],
)
def test_tokens_within_n_deviations_stay(logits, n, expected, dtype):
    assert kept(TopNSigma(n=n), np.array(logits, dtype)) == expected


@pytest.mark.parametrize(("dtype", "huge"), [(np.float32, 3e38), (np.float64, 1.7e308)])
def test_it_is_safe_beyond_all_measure(dtype, huge):
    row = np.array([huge, -huge], dtype)
    assert kept(TopNSigma(n=1), row) == [0]
    assert kept(TopNSigma(n=2.1), row) == [0, 1]
    assert kept(TopNSigma(n=1e300), row) == [0, 1]


def test_a_temperature_before_it_changes_nothing():
    row = np.random.default_rng(5).normal(0, 3, (1, 400))
    hot = sampler("temperature(t=4) | top_n_sigma(n=1)")(row, Context.of([[0]]))
    assert np.flatnonzero(hot > -INF).tolist() == kept(TopNSigma(n=1), row[0])
