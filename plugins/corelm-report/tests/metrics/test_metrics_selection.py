"""The settings to prefer: the best one after correction, and the rows on a Pareto front."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.document.content import GeneratedTexts, SamplerEntry, TeacherForced
from corelm_report.measure.entries import fronts
from corelm_report.metrics.estimates import Estimate
from corelm_report.metrics.selection import _resampled, best_of, front


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
