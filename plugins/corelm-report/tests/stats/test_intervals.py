"""Intervals and p-values of means, shares and figures of sets, where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from corelm_report import Estimate, Inference
from corelm_stats.conclusions import best_of, closest_set, confidence, front, simultaneous
from corelm_stats.estimates import effective_number
from corelm_stats.intervals import (
    IDENTITY,
    LOGIT,
    RECIPROCAL,
    SYMMETRIC,
    KnownByInterval,
    share_interval,
    student,
    tails,
)
from corelm_stats.text_figures import left_out_of_set, text_figures


def mean_of(values, sample="texts", counts=None):
    values = np.asarray(values, float)
    return Estimate.of_ratio(sample, values, np.ones(len(values)) if counts is None else counts)


# Means


def test_an_interval_of_many_texts_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = mean_of(values).interval()
    error = stats.sem(values)
    assert np.isclose(low, values.mean() - 1.96 * error, atol=0.1 * error)
    assert np.isclose(high, values.mean() + 1.96 * error, atol=0.1 * error)


@pytest.mark.parametrize("n", [8, 16, 64])
def test_it_covers_the_true_mean_of_skewed_texts(n):
    """Of 1,500 studies, 93 % to 98 % hold it; without a correction 8 texts would hold 90 %."""
    rng = np.random.default_rng(1)
    intervals = [mean_of(rng.exponential(1, n)).interval() for _ in range(1500)]
    assert 0.93 < np.mean([low < 1 < high for low, high in intervals]) < 0.98


@pytest.mark.parametrize(("freedom", "tolerance"), [(63, 1e-4), (10, 2e-3), (4, 0.02)])
def test_the_quantiles_are_those_of_students_t(freedom, tolerance):
    assert student(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=tolerance)
    assert tails(3.0, freedom) == pytest.approx(2 * stats.t.sf(3.0, freedom), rel=0.02)
    assert tails(4.0, 7) > 50 * tails(4.0, math.inf)


def test_the_influence_of_a_text_on_a_mean_is_that_of_leaving_it_out():
    sums, counts = np.array([8.0, 4.0, 12.0, 6.0]), np.array([2, 4, 6, 1])
    found = mean_of(sums, counts=counts)
    without = [(sums.sum() - a) / (counts.sum() - b) for a, b in zip(sums, counts, strict=True)]
    assert found.value == 30 / 13
    assert found.variance == pytest.approx(3 * np.var(without))  # the jackknife's
    assert mean_of([0.0, 0.0], counts=[0, 0]) is None


def test_an_interval_that_few_texts_decide_is_wider_and_longer_on_their_side():
    values = np.random.default_rng(3).exponential(1, 100) ** 3
    low, high = mean_of(values).interval()
    half = 1.984 * stats.sem(values)
    assert low < values.mean() - half
    assert high > values.mean() + 1.2 * half


def test_texts_are_weighted_by_their_number_of_values():
    # Ten texts of 1 value and ten of 99: the mean is close to the long ones' mean.
    values = np.linspace(0, 1, 10)
    low, high = mean_of([*values, *(99 + 99 * values)], counts=[1.0] * 10 + [99.0] * 10).interval()
    assert 1.1 < low < 1.49 < high < 1.9
    assert mean_of([2.0, 4.0, 6.0] * 3, counts=[1, 2, 3] * 3).interval() == [2.0, 2.0]
    low, high = mean_of([0.0, *range(20)], counts=[0, *[1] * 20]).interval()
    assert low < np.mean(range(20)) < high  # a text may have no values
    counts = np.arange(3, 27, 2)  # texts that differ by rounding alone are the same
    logs = [sum([math.log(11)] * count) for count in counts]
    assert mean_of(logs, counts=counts).interval() == pytest.approx([math.log(11)] * 2)


@pytest.mark.parametrize(("rest", "has_interval"), [(7, False), (8, True), (0, True)])
def test_no_interval_where_few_texts_differ_from_most(rest, has_interval):
    values = [0.0] * 40 + [float(i + 1) for i in range(rest)]
    assert (mean_of(values).interval() is not None) == has_interval
    assert mean_of([1.0] * 7).interval() is None


def test_an_undefined_part_of_a_set_leaves_no_interval():
    found = Estimate.of_left_out("texts", 1.0, [1.0, math.nan] * 8)
    assert found.interval() is found.p_value() is None
    assert (found - mean_of(range(16))).interval() is None


def test_the_scales_of_a_share_and_of_a_reciprocal():
    found = mean_of([0.0] * 20 + [0.5, 1.0] * 4)
    low, high = found.interval(scale=LOGIT, limits=(0.0, 1.0))
    assert 0 < low < found.value < high < 1
    assert high - found.value > found.value - low
    assert mean_of([0.0] * 9).interval(scale=LOGIT) == [0.0, 0.0]
    low, high = Estimate(2.0, noise=0.04).interval(scale=RECIPROCAL)
    assert (1 / low + 1 / high) / 2 == pytest.approx(1 / 2, rel=0.05)
    # Without an upper end there is no interval: JSON has no infinity.
    wide = Estimate(2.0, noise=4.0)
    assert wide.interval(scale=IDENTITY) is not None
    assert wide.interval(scale=RECIPROCAL) is None


# Shares


@pytest.mark.parametrize(("hits", "n"), [(0, 64), (5, 64), (32, 64), (64, 64), (9, 13)])
def test_shares_have_the_score_interval(hits, n):
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(share_interval(hits / n, n), expected, atol=1e-7)
    assert share_interval(0, 0) is None


@pytest.mark.parametrize(("level", "most"), [(0.95, 3), (0.99, 13), (0.999, 21)])
def test_the_lower_limits_of_few_hits_are_those_of_scipy(level, most):
    n = 100_000
    for hits in range(1, most + 1):
        expected = stats.chi2.ppf(1 - level, 2 * hits) / 2
        assert share_interval(hits / n, n, level)[0] * n == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("share", [0.003, 0.01, 0.05])
def test_the_share_of_something_rare_is_seldom_below_its_interval(share):
    """Wilson's own interval of 8 texts would lie above 1 % in 8 of 100 studies with 1 %."""
    for n in (8, 16, 64):
        chances = stats.binom.pmf(range(n + 1), n, share)
        below = [share < share_interval(hits / n, n)[0] for hits in range(n + 1)]
        assert chances @ below < 0.056


@pytest.mark.parametrize("texts", [8, 64, 128, 256, 512, 1024])
def test_loops_at_the_limit_are_seldom_said_to_be_above_it(texts):
    """Exact: single intervals would name one of eight rows in every tenth report or more.

    A summary names the rows of two figures whose lower end is above 1 %, its level is 1 %.
    """

    def named_by_chance(level):
        ends = [share_interval(hits / texts, texts, level) for hits in range(texts + 1)]
        above = [hits for hits, (low, _) in enumerate(ends) if low > 0.01]
        return 1 - (1 - stats.binom.pmf(above, texts, 0.01).sum()) ** 8

    assert named_by_chance(0.95) > 0.02
    assert named_by_chance(confidence(2 * 8)) <= 0.01


def test_texts_of_a_prompt_that_are_alike_count_less():
    """How alike the texts are is measured by ten prompts: by as much less as Student's t says."""
    certain = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 9)) ** 2
    alike = [10, 0] * 5  # of ten texts of each of ten prompts
    assert effective_number(alike, [10] * 10) == pytest.approx(10 * certain, rel=0.01)
    apart = [5, 4, 6, 5, 5, 4, 6, 5, 5, 5]
    assert effective_number(apart, [10] * 10) == pytest.approx(100 * certain, rel=0.01)
    between = effective_number([8, 2, 7, 3, 6, 4, 8, 2, 7, 3], [10] * 10)
    assert 10 * certain < between < 100 * certain
    assert effective_number([1, 0] * 5, [1] * 10) == 10  # each text has a prompt of its own


def test_a_share_that_few_prompts_decide_is_held():
    """Some 15 % of the prompts make most texts loop: before, 92 % of these studies held it."""
    rng, truth, held = np.random.default_rng(3), 0.15 * 0.7 + 0.85 * 0.01, []
    for _ in range(600):
        hits = rng.binomial(64, np.where(rng.random(50) < 0.15, 0.7, 0.01))
        low, high = share_interval(hits.sum() / 3200, effective_number(hits, [64] * 50))
        held.append(low <= truth <= high)
    assert 0.94 <= np.mean(held) <= 0.98


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


def test_p_values_of_equal_samplers_are_below_5_percent_in_5_of_100():
    rng = np.random.default_rng(4)
    found = np.array([mean_of(rng.normal(size=8)).p_value() for _ in range(2000)])
    assert 0.03 < np.mean(found < 0.05) < 0.06
    assert np.mean(found < 0.005) < 0.008


def test_certain_and_undecided_differences():
    assert mean_of([2.0] * 9).p_value() == 0.0
    assert mean_of([0.0] * 9).p_value() == 1.0
    assert mean_of([2.0] * 7).p_value() is None
    assert KnownByInterval(1.0, [1.0, 1.0], 9).p_value() == 0.0
    assert KnownByInterval(1.0, None, 9).p_value() is None
    nothing = KnownByInterval(None, None) - KnownByInterval(1.0, [0.0, 2.0])
    assert nothing.value is nothing.p_value() is None


def test_independent_intervals_add_in_squares():
    difference = KnownByInterval(0.5, [0.2, 0.9]) - KnownByInterval(0.1, [0.0, 0.4])
    low, high = difference.ends
    assert difference.value == pytest.approx(0.4)
    assert low == pytest.approx(0.4 - np.hypot(0.3, 0.3))
    assert high == pytest.approx(0.4 + np.hypot(0.4, 0.1))


# Several at once


def test_simultaneous_intervals_hold_all_their_truths():
    """Of 20 at once, 99 of 100 studies hold all; single intervals hold all in 36 of 100."""
    rng, single, together = np.random.default_rng(6), [], []
    for _ in range(150):
        rows = [mean_of(row) for row in rng.normal(size=(20, 32))]
        single.append(all(low <= 0 <= high for low, high in (row.interval() for row in rows)))
        together.append(all(low <= 0 <= high for low, high in simultaneous(rows)))
    assert np.mean(single) < 0.5
    assert np.mean(together) >= 0.96


def test_the_best_of_many_settings_is_corrected_for_the_choice():
    """Ten settings of equal mean 0: the largest is above 0 by chance alone, its correction not."""
    rng = np.random.default_rng(4)
    measured, corrected, held = [], [], []
    for _ in range(60):
        values = rng.normal(0, 1, (10, 64))
        index, value, (low, high) = best_of([mean_of(each) for each in values], 5.0)
        measured.append(values[index].mean())
        corrected.append(value)
        held.append(low <= 0 <= high)
    assert np.mean(measured) > 0.15
    assert abs(np.mean(corrected)) < 0.05
    assert np.mean(held) >= 0.93
    assert best_of([mean_of([1.0]), mean_of([2.0])], 0.0) is None
    values = np.arange(9.0)  # settings of different units have no best one
    assert best_of([mean_of(values, "a"), mean_of(values, "b")], 0.0) is None


def test_one_setting_has_gained_nothing_but_the_bias_of_its_resampling():
    values = np.array([1.0, 2.0, 4.0, 9.0] * 4)
    low, high = mean_of(values).interval()
    index, value, ends = best_of([mean_of(values)], 0.0)
    bias = 4.0 - value
    assert index == 0
    assert 0 < abs(bias) < 0.1 * (high - low)
    assert ends == pytest.approx([low - bias, high - bias])
    far = mean_of(values + 200)  # never the best in any resampled set
    best = best_of([far, mean_of(values)], 5.0)
    assert best == (1, pytest.approx(value), pytest.approx(ends))
    assert best_of([far, mean_of(values)], 203.0)[0] == 0


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([], []),
        ([(0.1, 1.0), (0.9, 3.0), (0.5, 4.0)], [(0.1, 1.0), (0.9, 3.0)]),
        ([(0.5, 4.0), (0.9, 3.0), (0.1, 1.0)], [(0.1, 1.0), (0.9, 3.0)]),
        ([(0.5, 1.0), (0.9, 1.0)], [(0.9, 1.0)]),  # as small, and larger
        ([(0.5, 1.0), (0.5, 2.0)], [(0.5, 1.0)]),  # as large, and smaller
        ([(0.5, 1.0), (0.5, 1.0)], [(0.5, 1.0)]),
    ],
)
def test_the_front_of_some_points(points, best):
    assert front(points) == best


def test_the_closest_row_is_in_the_set_in_95_of_100_studies():
    """Six rows near the target, whose own error is as large as theirs."""
    rng, missed = np.random.default_rng(3), 0
    truths = dict(zip("abcdef", (-0.9, -0.6, -0.1, 0.2, 0.5, 0.8), strict=True))
    for _ in range(150):
        shared = rng.normal(0, 1, 16)
        rows = {name: mean_of(shared + rng.normal(at, 0.3, 16)) for name, at in truths.items()}
        missed += "c" not in closest_set(rows, mean_of(rng.normal(0, 1, 16), "human"))
    assert missed / 150 <= 0.05


def test_the_errors_that_the_target_shares_with_the_settings_cancel():
    """Each unit has a level of its own, which both settings and the target have."""
    level = np.random.default_rng(1).normal(0, 3, 64)
    settings = {"near": mean_of(level + 0.1), "far": mean_of(level + 1.0)}
    assert closest_set(settings, mean_of(level, "other")) == ["near", "far"]
    assert closest_set(settings, mean_of(level)) == ["near"]


# Figures of a few short texts


def studies(figure, count=250):
    """Return a figure of many sets of 8 short texts of unlike length, each with its error."""
    rng, found, p = np.random.default_rng(1), [], 1 / np.arange(1, 31)
    for _ in range(count):
        texts = [(3 + rng.choice(30, rng.geometric(0.1), p=p / p.sum())).tolist() for _ in range(8)]
        written = [" ".join(f"w{token}" for token in text) for text in texts]
        value, without = (of(texts, written)[figure] for of in (text_figures, left_out_of_set))
        found.append(Inference.of_names(range(8)).of_left_out(value, without))
    return found, np.mean([each.value for each in found])


def test_zipf_of_eight_texts_is_held_by_intervals_of_bounded_width():
    (found, truth), widths = studies("zipf"), {}
    for scale in (SYMMETRIC, IDENTITY):
        ends = np.array([each.interval(scale=scale) for each in found if each.is_decided])
        assert np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) >= 0.93
        widths[scale] = ends[:, 1] - ends[:, 0]
    assert widths[SYMMETRIC].max() < widths[IDENTITY].max() / 1.5
    for each in found[:60]:
        moved = each.moved(1.0, each.value - 1.0)
        low, high = moved.interval(scale=SYMMETRIC)
        assert (moved.p_value(SYMMETRIC) < 0.05) == (not low <= 0 <= high)


def test_the_error_of_compression_of_few_short_texts_is_that_of_the_studies():
    """To first order it was a third of that."""
    found, truth = studies("compression")
    variance = np.var([each.value for each in found])
    assert np.mean([each.variance for each in found]) == pytest.approx(variance, rel=0.5)
    ends = filter(None, (each.interval(scale=RECIPROCAL) for each in found))
    assert np.mean([low <= truth <= high for low, high in ends]) >= 0.9
