"""The interval of a figure of sets of several seeds."""

from __future__ import annotations

import numpy as np
import pytest

from corelm.reports.metrics.intervals import jackknife, mean_interval
from corelm.reports.metrics.sets import MANY, interval_of_sets


def means_and_left_out(sets, texts=8):
    """The mean of some numbers, and of all but each of them."""
    values = np.random.default_rng(sets).normal(size=(sets, texts))
    left_out = (values.sum(axis=1, keepdims=True) - values) / max(texts - 1, 1)
    return values.mean(axis=1).tolist(), left_out.tolist()


@pytest.mark.parametrize("sets", [1, 10, MANY - 1])
def test_few_sets_have_the_jackknife_over_their_texts(sets):
    values, left_out = means_and_left_out(sets)
    whole = float(np.mean(values))
    assert interval_of_sets(whole, values, left_out) == jackknife(whole, *left_out)


def test_many_sets_have_their_own_spread():
    values, left_out = means_and_left_out(MANY)
    expected = mean_interval(values, [1.0] * MANY)
    assert interval_of_sets(float(np.mean(values)), values, left_out) == expected


def test_sets_of_one_text_have_their_own_spread():
    values, _ = means_and_left_out(10)
    expected = mean_interval(values, [1.0] * 10)
    assert interval_of_sets(float(np.mean(values)), values, [[None]] * 10) == expected
    assert interval_of_sets(values[0], values[:1], [[None]]) is None
