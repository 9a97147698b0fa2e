"""Intervals: by hand, and their coverage of the true value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_report.metrics.intervals import (
    ROUNDS,
    SEED,
    _resampled,
    _student,
    _tail,
    difference_interval,
    influence_of,
    jackknife,
    mean_interval,
    resampled_means,
    share_interval,
)
from scipy import stats


def test_a_bootstrap_of_many_texts_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = mean_interval(values, np.ones(400))
    error = stats.sem(values)
    assert np.isclose(low, values.mean() - 1.96 * error, atol=0.25 * error)
    assert np.isclose(high, values.mean() + 1.96 * error, atol=0.25 * error)


def test_a_bootstrap_covers_the_true_mean_nineteen_times_in_twenty():
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.exponential(1, 64), np.ones(64)) for _ in range(400)]
    held = np.mean([low < 1 < high for low, high in intervals])
    assert 0.90 < held < 0.98


@pytest.mark.parametrize(("freedom", "tolerance"), [(63, 1e-6), (10, 1e-3), (4, 0.05)])
def test_few_texts_widen_an_interval_as_students_t_does(freedom, tolerance):
    assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=tolerance)


def test_the_influence_of_a_text_on_a_mean():
    # 12 values with the mean 2: each text's sum, less 2 for each of its values, divided by 12
    assert influence_of([8.0, 4.0, 12.0], [2, 4, 6]).tolist() == pytest.approx([1 / 3, -1 / 3, 0])
    assert influence_of([0.0, 0.0], [0, 0]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("influence", "freedom"),
    [
        ([1, -1, 1, -1], 3),  # n - 1
        ([3, -1, -1, -1], 3),  # the kurtosis would allow 6
        ([9] + [-1] * 9, 2.8125),  # 2 * 10 / (73 / 9 - 1)
    ],
)
def test_the_ends_are_those_of_students_t_for_the_texts_that_decide(influence, freedom):
    n = len(influence)
    quantile = _student(freedom) * np.sqrt(n / (n - 1))
    assert _tail(np.array(influence, float)) == pytest.approx(stats.norm.sf(quantile), rel=1e-9)
    assert _tail(np.zeros(n)) == 0.025


def test_an_interval_that_few_texts_decide_is_wider():
    values, ones = np.random.default_rng(3).exponential(1, 100) ** 3, np.ones(100)
    means = resampled_means(values, ones)
    low, high = mean_interval(values, ones)
    plain = np.percentile(means, (2.5, 97.5))
    assert low < plain[0] < plain[1] < high


def test_texts_are_weighted_by_their_number_of_values():
    # Ten texts of 1 value and ten of 99: the mean is close to that of the long ones.
    values = np.linspace(0, 1, 10)
    low, high = mean_interval([*values, *(99 + 99 * values)], [1.0] * 10 + [99.0] * 10)
    assert 1.2 < low < 1.49 < high < 1.8
    same = mean_interval([2.0, 4.0, 6.0] * 3, [1, 2, 3] * 3)
    assert same == [2.0, 2.0]


def test_the_same_texts_have_the_same_interval():
    values, counts = np.arange(20.0), np.ones(20)
    first = mean_interval(values, counts)
    _resampled.cache_clear()
    assert mean_interval(values, counts) == first


def test_resampling_in_small_parts_gives_the_means_of_the_whole():
    sums, counts = np.random.default_rng(2).normal(9, 2, 30), np.arange(1.0, 31.0)
    times = np.random.default_rng(SEED).multinomial(30, np.full(30, 1 / 30), size=ROUNDS)
    expected = (times @ sums) / (times @ counts)
    assert np.allclose(resampled_means(sums, counts), expected, rtol=1e-12)


def test_a_text_may_have_no_values():
    low, high = mean_interval([0.0, *range(20)], [0, *[1] * 20])
    assert low < np.mean(range(20)) < high


@pytest.mark.parametrize(("sums", "counts"), [([], []), ([1.0] * 7, [1] * 7), ([0.0] * 9, [0] * 9)])
def test_no_interval_from_nothing_or_few(sums, counts):
    assert mean_interval(sums, counts) is None
    assert difference_interval((sums, counts), ([1.0, 2.0] * 8, [1] * 16)) is None


@pytest.mark.parametrize(("rest", "known"), [(7, False), (8, True), (0, True)])
def test_no_interval_where_few_texts_differ_from_most(rest, known):
    values = [0.0] * 40 + [float(i + 1) for i in range(rest)]
    assert (mean_interval(values, [1] * len(values)) is not None) == known


@pytest.mark.parametrize("n", [8, 9])
def test_an_interval_of_few_texts_is_that_of_students_t(n):
    values = np.random.default_rng(7).normal(3, 2, n)
    low, high = mean_interval(values, [1] * n)
    half = stats.t.ppf(0.975, n - 1) * stats.sem(values)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-2)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(2).exponential(1, 30)
    left_out = [np.delete(values, i).mean() for i in range(30)]
    low, high = jackknife(values.mean(), left_out)
    assert np.isclose(high - low, 2 * stats.t.ppf(0.975, 29) * stats.sem(values), rtol=1e-4)
    assert np.isclose((low + high) / 2, values.mean())


@pytest.mark.parametrize(
    ("whole", "left_out"), [(None, [1.0, 2.0]), (1.0, [1.0]), (1.0, []), (1.0, [1.0, None, 2.0])]
)
def test_no_jackknife_of_undefined_figures(whole, left_out):
    assert jackknife(whole, left_out) is None


@pytest.mark.parametrize(("hits", "n"), [(0, 64), (1, 64), (32, 64), (64, 64), (3, 5)])
def test_shares_have_the_score_interval(hits, n):
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(share_interval(hits / n, n), expected, atol=1e-7)


def test_no_share_of_nothing():
    assert share_interval(0, 0) is None


def test_texts_that_differ_by_rounding_alone_are_the_same():
    counts = [3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25]
    sums = [sum([math.log(11)] * count) for count in counts]
    assert mean_interval(sums, counts) == pytest.approx([math.log(11)] * 2)


def test_the_difference_of_exponentials_is_paired_too():
    rng = np.random.default_rng(2)
    shared, counts = rng.normal(2, 1, 200), np.ones(200)
    first, second = ((shared + rng.normal(0, 0.1, 200), counts) for _ in range(2))
    low, high = difference_interval(first, second, exponential=True)
    plain = difference_interval(first, second)
    level = np.exp(first[0].mean())
    assert low < np.exp(first[0].mean()) - np.exp(second[0].mean()) < high
    assert high - low == pytest.approx(level * (plain[1] - plain[0]), rel=0.1)
