"""The kinds of statements of a report share 5 %; the best of several settings, and the front."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.document.content import GeneratedTexts, SamplerEntry, TeacherForced
from corelm_report.document.summary import LOOPING
from corelm_report.measure.comparisons import SHARES
from corelm_report.measure.entries import fronts
from corelm_report.metrics.conclusions import (
    CONFIDENCE,
    EACH,
    KINDS,
    _resampled,
    best_of,
    confidence,
    front,
    holm,
)
from corelm_report.metrics.estimates import Estimate
from corelm_report.metrics.intervals import LEVEL, share_interval
from corelm_report.render.permutation_tests import p_value
from scipy import stats


def test_all_kinds_together_have_5_percent():
    assert len(KINDS) * EACH == pytest.approx(LEVEL)
    assert CONFIDENCE == "99 %"


def named_by_chance(texts, level, rows=8):
    """The chance that one of some rows, whose true share is the limit, is said to be above it."""
    ends = [share_interval(hits / texts, texts, level) for hits in range(texts + 1)]
    above = [hits for hits, (low, _) in enumerate(ends) if low > LOOPING]
    return 1 - (1 - stats.binom.pmf(above, texts, LOOPING).sum()) ** rows


@pytest.mark.parametrize("texts", [8, 64, 128, 256, 512, 1024])
def test_loops_at_the_limit_are_seldom_said_to_be_above_it(texts):
    """Exact: single intervals would name one of eight rows in every tenth report or more."""
    assert named_by_chance(texts, 1 - LEVEL) > 0.02
    assert named_by_chance(texts, confidence(len(SHARES) * 8)) <= EACH


@pytest.mark.parametrize(("level", "most"), [(0.95, 3), (0.99, 13), (0.999, 21)])
def test_the_lower_limits_of_few_hits_are_those_of_scipy(level, most):
    n = 100_000
    for hits in range(1, most + 1):
        expected = stats.chi2.ppf(1 - level, 2 * hits) / 2
        assert share_interval(hits / n, n, level)[0] * n == pytest.approx(expected, rel=1e-6)


def test_a_test_among_four_hundred_can_be_significant():
    """With 9,999 exchanges no p-value is below 1 in 10,000, so that Holm's is 4 %."""
    p = p_value(np.random.default_rng(1).normal(2, 1, size=64))
    assert holm([p, *[0.5] * 400])[0] <= EACH


def mean_of(values, sample="texts"):
    return Estimate.of_ratio(sample, values, np.ones(len(values)))


def test_the_best_of_many_settings_is_corrected_for_the_choice():
    """Ten settings of equal mean 0: the largest is above 0 by chance alone, its correction not."""
    rng = np.random.default_rng(4)
    measured, corrected, held = [], [], []
    for _ in range(60):
        values = rng.normal(0, 1, (10, 64))
        best = best_of([mean_of(each) for each in values], 5.0)
        measured.append(values[best.chosen].mean())
        corrected.append(best.value)
        held.append(best.ends[0] <= 0 <= best.ends[1])
    assert np.mean(measured) > 0.15
    assert abs(np.mean(corrected)) < 0.05
    assert np.mean(held) >= 0.93
    assert best_of([mean_of([1.0]), mean_of([2.0])], 0.0) is None


def test_settings_of_different_units_have_no_best_one():
    values = np.arange(9.0)
    assert best_of([mean_of(values, "a"), mean_of(values, "b")], 0.0) is None


def test_one_setting_has_gained_nothing_but_the_bias_of_its_resampling():
    values = np.array([1.0, 2.0, 4.0, 9.0] * 4)
    [influence] = mean_of(values).influence.values()
    low, high = mean_of(values).interval()
    bias = float((_resampled(16) @ influence).mean())
    alone = best_of([mean_of(values)], 0.0)
    assert alone.chosen == 0
    assert alone.value == pytest.approx(4.0 - bias)
    assert alone.ends == pytest.approx([low - bias, high - bias])
    far = mean_of(values + 200)  # never the best in any resampled set
    best = best_of([far, mean_of(values)], 5.0)
    assert best == (1, pytest.approx(alone.value), pytest.approx(alone.ends))
    assert best_of([far, mean_of(values)], 203.0).chosen == 0


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


def row(name, diversity=None, surprisal=None, recall=None, mass=None):
    return SamplerEntry(
        sampler=name,
        generated_texts=GeneratedTexts(figures={"diversity": diversity, "surprisal": surprisal}),
        teacher_forced=TeacherForced(figures={"human_recall": recall, "mass_kept": mass}),
    )


def test_each_pair_of_figures_has_a_front_of_the_rows_that_have_both():
    rows = [row("a", 0.2, 2.0, 0.8, 0.9), row("b", 0.2, 2.0, 0.9, 0.95), row("c", 0.1, 3.0),
            row("d", 0.9), row("e", None, 1.0, 0.7, 0.92)]  # fmt: skip
    assert [each.to_dict() for each in fronts(rows)] == [
        {"view": "generated_texts", "larger": "diversity", "smaller": "surprisal",
         "rows": ["a", "b"]},
        {"view": "teacher_forced", "larger": "human_recall", "smaller": "mass_kept",
         "rows": ["a", "b"]},
    ]  # fmt: skip
    assert fronts([row("d", 0.9)]) == []
