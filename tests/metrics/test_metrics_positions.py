"""Figures of entropies along texts."""

from __future__ import annotations

import numpy as np

from corelm.metrics.positions import drift, outside, ratio, total


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
