"""Sums over texts, figures of entropies along texts, and the intervals of shares of alike texts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_report.measure.text_records import by_position
from corelm_report.metrics.conclusions import simultaneous
from corelm_report.metrics.estimates import (
    Estimate,
    _hall,
    _hall_inverse,
    effective_number,
    mean_interval,
    of_exponential,
)
from corelm_report.metrics.intervals import (
    LOGIT,
    RECIPROCAL,
    KnownByInterval,
    along_texts,
    drift,
    outside,
    ratio,
    share_interval,
    student,
    tails,
    total,
)
from scipy import stats


def test_a_mean_is_over_all_positions_of_all_texts():
    assert total([[1.0, 3.0], [], [8.0]]) == ([4.0, 0.0, 8.0], [2, 0, 1])
    assert ratio(total([[1.0, 3.0], [], [8.0]])) == 4.0
    assert ratio(total([[]])) is None


def test_drift_is_the_least_squares_slope_over_all_positions():
    rng = np.random.default_rng(0)
    texts = [rng.exponential(2, size) for size in (5, 1, 12, 0, 7)]
    x = np.concatenate([np.arange(len(text)) for text in texts])
    slope = np.polyfit(x, np.concatenate(texts), 1)[0]
    assert np.isclose(ratio(drift(texts)), slope)


def test_drift_of_a_line():
    assert np.isclose(ratio(drift([[4.0, 3.5, 3.0], [4.0, 3.5]])), -0.5)


def test_no_drift_without_two_positions():
    assert ratio(drift([[1.0], [2.0]])) is None
    assert ratio(drift([[], []])) is None
    assert ratio(drift([])) is None


def test_the_ends_of_a_band_are_inside():
    sums = outside([[1.0, 0.99, 2.0], [3.0, 3.01], []], (1.0, 3.0))
    assert sums == ([1, 1, 0], [3, 2, 0])
    assert ratio(sums) == 0.4


def test_figures_along_texts():
    surprisals, entropies = [[1.0, 4.0], [7.0]], [[0.5, 1.5], [4.0]]
    figures = along_texts(surprisals, entropies, (1.0, 3.0))
    assert figures == {
        "surprisal": ([5.0, 7.0], [2, 1]),
        "model_entropy": ([2.0, 4.0], [2, 1]),
        "entropy_drift": drift(entropies),
        "outside_human_band": ([1, 1], [2, 1]),
    }
    unknown = along_texts(surprisals, entropies, None)["outside_human_band"]
    assert unknown == ([0.0, 0.0], [0.0, 0.0])
    assert ratio(unknown) is None


def test_a_position_has_the_means_of_the_texts_that_reach_it():
    values = {"entropy": [[1.0, 2.0], [], [4.0]], "surprisal": [[3.0, 9.0], [], [5.0]]}
    assert by_position(values) == [
        {"position": 0, "n": 2, "entropy": 2.5, "surprisal": 4.0},
        {"position": 1, "n": 1, "entropy": 2.0, "surprisal": 9.0},
    ]
    assert by_position({}) == []


def test_texts_of_a_prompt_that_are_alike_count_less():
    """How alike the texts are is measured by ten prompts: by as much less as Student's t says."""
    known = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 9)) ** 2
    alike = [10, 0] * 5  # of ten texts of each of ten prompts
    assert effective_number(alike, [10] * 10) == pytest.approx(10 * known, rel=0.01)
    apart = [5, 4, 6, 5, 5, 4, 6, 5, 5, 5]
    assert effective_number(apart, [10] * 10) == pytest.approx(100 * known, rel=0.01)
    between = effective_number([8, 2, 7, 3, 6, 4, 8, 2, 7, 3], [10] * 10)
    assert 10 * known < between < 100 * known


def test_each_text_counts_if_each_has_a_prompt_of_its_own():
    assert effective_number([1, 0] * 5, [1] * 10) == 10


def test_a_share_that_few_prompts_decide_is_held():
    """Some 15 % of the prompts make most texts loop: before, 92 % of these studies held it."""
    rng, truth, held = np.random.default_rng(3), 0.15 * 0.7 + 0.85 * 0.01, []
    for _ in range(600):
        hits = rng.binomial(64, np.where(rng.random(50) < 0.15, 0.7, 0.01))
        low, high = share_interval(hits.sum() / 3200, effective_number(hits, [64] * 50))
        held.append(low <= truth <= high)
    assert 0.94 <= np.mean(held) <= 0.98


def mean_of(values, sample="texts", counts=None):
    values = np.asarray(values, float)
    return Estimate.of_ratio(sample, values, np.ones(len(values)) if counts is None else counts)


def test_an_interval_of_many_texts_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = mean_interval(values, np.ones(400))
    error = stats.sem(values)
    assert np.isclose(low, values.mean() - 1.96 * error, atol=0.1 * error)
    assert np.isclose(high, values.mean() + 1.96 * error, atol=0.1 * error)


@pytest.mark.parametrize("n", [8, 16, 64])
def test_it_covers_the_true_mean_of_skewed_texts(n):
    """Of 1,500 studies, 93 % to 98 % hold it; without a correction 8 texts would hold 90 %."""
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.exponential(1, n), np.ones(n)) for _ in range(1500)]
    assert 0.93 < np.mean([low < 1 < high for low, high in intervals]) < 0.98


@pytest.mark.parametrize(("freedom", "tolerance"), [(63, 1e-4), (10, 2e-3), (4, 0.02)])
def test_the_quantiles_are_those_of_students_t(freedom, tolerance):
    assert student(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=tolerance)
    assert tails(3.0, freedom) == pytest.approx(2 * stats.t.sf(3.0, freedom), rel=0.02)


def test_few_texts_have_wider_tails_than_the_normal_distribution():
    assert tails(4.0, 7) > 50 * tails(4.0, math.inf)


def test_the_influence_of_a_text_on_a_mean_is_that_of_leaving_it_out():
    sums, counts = np.array([8.0, 4.0, 12.0, 6.0]), np.array([2, 4, 6, 1])
    found = Estimate.of_ratio("texts", sums, counts)
    without = [(sums.sum() - a) / (counts.sum() - b) for a, b in zip(sums, counts, strict=True)]
    assert found.value == 30 / 13
    assert found.variance == pytest.approx(3 * np.var(without))  # the jackknife's
    assert Estimate.of_ratio("texts", [0.0, 0.0], [0, 0]) is None


def test_the_correction_for_skewness_is_undone_by_its_inverse():
    for skewness in (-0.8, -1e-9, 0.0, 1e-7, 0.3, 0.8):
        for x in (-3.0, -0.1, 0.0, 2.0):
            assert _hall(_hall_inverse(x, skewness), skewness) == pytest.approx(x, abs=1e-6)


def test_an_interval_that_few_texts_decide_is_wider_and_longer_on_their_side():
    values = np.random.default_rng(3).exponential(1, 100) ** 3
    low, high = mean_interval(values, np.ones(100))
    half = 1.984 * stats.sem(values)
    assert low < values.mean() - half
    assert high > values.mean() + 1.2 * half


def test_texts_are_weighted_by_their_number_of_values():
    # Ten texts of 1 value and ten of 99: the mean is close to the long ones' mean.
    values = np.linspace(0, 1, 10)
    low, high = mean_interval([*values, *(99 + 99 * values)], [1.0] * 10 + [99.0] * 10)
    assert 1.1 < low < 1.49 < high < 1.9
    same = mean_interval([2.0, 4.0, 6.0] * 3, [1, 2, 3] * 3)
    assert same == [2.0, 2.0]


def test_a_text_may_have_no_values():
    low, high = mean_interval([0.0, *range(20)], [0, *[1] * 20])
    assert low < np.mean(range(20)) < high


@pytest.mark.parametrize(("sums", "counts"), [([], []), ([1.0] * 7, [1] * 7), ([0.0] * 9, [0] * 9)])
def test_no_interval_from_nothing_or_few(sums, counts):
    assert mean_interval(sums, counts) is None


@pytest.mark.parametrize(("rest", "known"), [(7, False), (8, True), (0, True)])
def test_no_interval_where_few_texts_differ_from_most(rest, known):
    values = [0.0] * 40 + [float(i + 1) for i in range(rest)]
    assert (mean_interval(values, [1] * len(values)) is not None) == known


def test_an_undefined_part_of_a_set_leaves_no_interval():
    found = Estimate.of_left_out("texts", 1.0, [1.0, math.nan] * 8)
    assert found.interval() is found.p_value() is None
    assert (found - mean_of(range(16))).interval() is None


@pytest.mark.parametrize(("hits", "n"), [(0, 64), (5, 64), (32, 64), (64, 64), (9, 13)])
def test_shares_have_the_score_interval(hits, n):
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(share_interval(hits / n, n), expected, atol=1e-7)


@pytest.mark.parametrize("share", [0.003, 0.01, 0.05])
def test_the_share_of_something_rare_is_seldom_below_its_interval(share):
    """Wilson's own interval of 8 texts would lie above 1 % in 8 of 100 studies with 1 %."""
    for n in (8, 16, 64):
        chances = stats.binom.pmf(range(n + 1), n, share)
        below = [share < share_interval(hits / n, n)[0] for hits in range(n + 1)]
        assert chances @ below < 0.056


def test_no_share_of_nothing():
    assert share_interval(0, 0) is None


def test_texts_that_differ_by_rounding_alone_are_the_same():
    counts = [3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25]
    sums = [sum([math.log(11)] * count) for count in counts]
    assert mean_interval(sums, counts) == pytest.approx([math.log(11)] * 2)


def test_a_share_has_an_interval_between_0_and_1():
    found = mean_of([0.0] * 20 + [0.5, 1.0] * 4)
    low, high = found.interval(scale=LOGIT, limits=(0.0, 1.0))
    assert 0 < low < found.value < high < 1
    assert high - found.value > found.value - low
    assert mean_of([0.0] * 9).interval(scale=LOGIT) == [0.0, 0.0]


def test_an_error_that_is_symmetric_for_the_reciprocal():
    found = Estimate(2.0, noise=0.04)
    low, high = found.interval(scale=RECIPROCAL)
    assert (1 / low + 1 / high) / 2 == pytest.approx(1 / 2, rel=0.05)
    # Without an upper end there is no interval: JSON has no infinity.
    assert Estimate(2.0, noise=4.0).interval(scale=RECIPROCAL) is None


# Differences


def test_what_two_samples_of_the_same_units_share_cancels():
    values = np.random.default_rng(5).normal(3, 2, 40)
    assert (mean_of(values + 1) - mean_of(values)).interval() == pytest.approx([1.0, 1.0])
    low, high = mean_of(values).interval()
    assert high - low > 0.5


def test_samples_of_different_units_are_independent():
    rng = np.random.default_rng(5)
    first, second = (mean_of(rng.normal(3, 2, 40), sample) for sample in ("a", "b"))
    both = first - second
    assert both.variance == pytest.approx(first.variance + second.variance)
    assert both.freedom > 60
    assert both.units == 40


def test_a_p_value_is_below_5_percent_just_where_the_interval_excludes_0():
    rng, both = np.random.default_rng(2), []
    for _ in range(300):
        found = mean_of(rng.exponential(1, 10) - 0.5)
        low, high = found.interval()
        both.append((not low <= 0 <= high, found.p_value() < 0.05))
    assert all(outside == below for outside, below in both)
    assert 0.1 < np.mean(both) < 0.9


def test_p_values_of_equal_samplers_are_below_5_percent_in_5_of_100():
    rng = np.random.default_rng(4)
    found = [mean_of(rng.normal(size=8)).p_value() for _ in range(2000)]
    assert 0.03 < np.mean(np.array(found) < 0.05) < 0.06
    assert np.mean(np.array(found) < 0.005) < 0.008


def test_certain_and_undecided_differences():
    assert mean_of([2.0] * 9).p_value() == 0.0
    assert mean_of([0.0] * 9).p_value() == 1.0
    assert mean_of([2.0] * 7).p_value() is None
    assert KnownByInterval(1.0, [1.0, 1.0], 9).p_value() == 0.0
    assert KnownByInterval(1.0, None, 9).p_value() is None
    nothing = KnownByInterval(None, None) - KnownByInterval(1.0, [0.0, 2.0])
    assert nothing.value is nothing.p_value() is None


def test_the_difference_of_exponentials_is_paired_too():
    rng = np.random.default_rng(2)
    shared = rng.normal(2, 1, 200)
    first, second = (mean_of(shared + rng.normal(0, 0.1, 200)) for _ in range(2))
    low, high = (of_exponential(first) - of_exponential(second)).interval()
    plain = (first - second).interval()
    assert low < np.exp(first.value) - np.exp(second.value) < high
    assert high - low == pytest.approx(np.exp(first.value) * (plain[1] - plain[0]), rel=0.1)


def test_independent_intervals_add_in_squares():
    low, high = (KnownByInterval(0.5, [0.2, 0.9]) - KnownByInterval(0.1, [0.0, 0.4])).ends
    assert low == pytest.approx(0.4 - np.hypot(0.3, 0.3))
    assert high == pytest.approx(0.4 + np.hypot(0.4, 0.1))


def test_simultaneous_intervals_hold_all_their_truths():
    """Of 20 at once, 99 of 100 studies hold all; single intervals hold all in 36 of 100."""
    rng, single, together = np.random.default_rng(6), [], []
    for _ in range(300):
        rows = [mean_of(row) for row in rng.normal(size=(20, 32))]
        single.append(all(low <= 0 <= high for low, high in (row.interval() for row in rows)))
        together.append(all(low <= 0 <= high for low, high in simultaneous(rows)))
    assert np.mean(single) < 0.5
    assert np.mean(together) >= 0.97
