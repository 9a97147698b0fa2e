"""Sums over texts, figures of entropies along texts, and shares of alike texts."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.metrics.intervals import effective_number, share_interval
from corelm_report.metrics.sums import along_texts, by_position, drift, outside, ratio, total
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
