"""Paired permutation tests: exact for few pairs, near the t test for many; Holm's correction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from corelm_stats.conclusions import holm
from corelm_stats.permutations import permutation_p_value


def of_texts(differences):
    """The units of two samplers whose figures are means over one text each."""
    return np.array(
        [[differences, np.ones(len(differences))], np.eye(2)[1][:, None] + 0 * differences]
    )


def test_units_without_a_difference_are_equal_in_every_exchange():
    assert permutation_p_value(of_texts(np.zeros(5))) == 1.0


def test_the_weights_are_exchanged_with_the_sums():
    rng = np.random.default_rng(2)
    tops, weights = rng.uniform(size=(2, 6)), rng.integers(1, 9, size=(2, 6))
    apart = []
    for swaps in itertools.product([False, True], repeat=6):
        sides = [np.where(swaps, each[::-1], each).sum(axis=1) for each in (tops, weights)]
        apart.append(abs(float(np.subtract(*(sides[0] / sides[1])))))
    expected = np.mean(np.array(apart) >= apart[0] - 1e-12)
    assert permutation_p_value(np.stack([tops, weights], axis=1)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_a_small_p_value_is_exact(n):
    differences = np.random.default_rng(n).normal(0.5, size=n)
    found = stats.permutation_test(
        (differences, np.zeros(n)), lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples", n_resamples=np.inf, vectorized=True,
    )  # fmt: skip
    assert permutation_p_value(of_texts(differences)) == pytest.approx(found.pvalue)


def test_a_large_one_is_near_the_t_test():
    differences = np.random.default_rng(8).normal(0.15, size=200)
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert 0.0005 < expected < 0.5
    assert permutation_p_value(of_texts(differences)) == pytest.approx(expected, abs=0.01)


def test_without_a_difference_five_of_a_hundred_are_below_5_percent():
    random = np.random.default_rng(3)
    found = np.array([permutation_p_value(of_texts(random.normal(size=10))) for _ in range(400)])
    assert 0.03 < np.mean(found <= 0.05) < 0.075


def test_a_test_among_four_hundred_can_be_significant():
    """With 9,999 exchanges no p-value is below 1 in 10,000, so that Holm's is 4 %."""
    p = permutation_p_value(of_texts(np.random.default_rng(1).normal(2, 1, size=64)))
    assert holm([p, *[0.5] * 400])[0] <= 0.01


def test_holm_is_that_of_statsmodels_definition():
    assert holm([]) == []
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.04, 0.001, 0.02]) == pytest.approx([0.04, 0.003, 0.04])
