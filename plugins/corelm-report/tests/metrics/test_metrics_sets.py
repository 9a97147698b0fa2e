"""Figures of many texts, measured on small sets, and the interval over sets of several seeds."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.metrics.inference import Inference
from corelm_report.metrics.intervals import mean_interval
from corelm_report.metrics.sets import MANY, figures_of_sets, of_sets
from corelm_report.metrics.text_figures import distinct, text_figures


def decode(ids):
    return " ".join(map(str, ids))


def random_texts(count):
    rng = np.random.default_rng(0)
    return [(rng.zipf(1.3, 30) % 100).tolist() for _ in range(count)]


def test_sets_are_disjoint_of_equal_size_and_of_texts_far_apart():
    texts = [[i] for i in range(7)]  # two sets of three: 0 2 4 and 1 3 5
    seen = []
    measured = figures_of_sets(texts, lambda ids: seen.extend(ids) or "a", size=3, length=1)
    assert (measured.sets, measured.texts, measured.length) == (2, 3, 1)
    assert seen == [0, 2, 4, 1, 3, 5]


def test_figures_are_means_over_the_sets():
    texts = random_texts(36)
    measured = figures_of_sets(texts, decode, size=4, length=20)
    sets = [[text[:20] for text in texts[first::9]] for first in range(9)]
    each = [text_figures(some, [decode(text) for text in some]) for some in sets]
    for name, value in measured.figures.items():
        assert np.isclose(value, np.mean([figures[name] for figures in each])), name
    units = Inference.of_names(range(9))
    expected = units.estimate(([distinct(some, 2) for some in sets], [1.0] * 9)).interval()
    assert np.allclose(measured.ci95["distinct_2"], expected)


def test_they_do_not_depend_on_the_number_of_texts():
    few, many = (
        figures_of_sets(random_texts(count), decode, size=8, length=30).figures
        for count in (40, 400)
    )
    for name in ("distinct_1", "distinct_2", "zipf", "compression", "self_bleu_4"):
        assert np.isclose(few[name], many[name], rtol=0.2), name
    # all texts together have another figure
    assert distinct(random_texts(400), 2) < 0.5 * many["distinct_2"]


def test_fewer_texts_than_a_set_are_one_set_without_intervals():
    measured = figures_of_sets(random_texts(3), decode, size=8, length=30)
    assert (measured.sets, measured.texts) == (1, 3)
    assert measured.ci95["distinct_1"] is None
    assert measured.figures["distinct_1"] == distinct(random_texts(3), 1)


def test_loops_have_an_interval_even_at_zero():
    measured = figures_of_sets(random_texts(16), decode, size=8, length=30)
    assert measured.figures["loops"] == 0
    low, high = measured.ci95["loops"]
    assert low == 0 < high < 0.25


def test_undefined_figures_are_left_out_of_the_mean():
    texts = [[1, 2, 3, 4], [5], [1, 2, 3, 4], [5]]  # two sets: 1 2 3 4 twice, and 5 twice
    measured = figures_of_sets(texts, decode, size=2, length=9)
    assert measured.figures["distinct_2"] == 0.5
    assert measured.figures["distinct_1"] == 0.5
    assert figures_of_sets([], decode, size=2, length=9).figures["distinct_1"] is None


def means_and_left_out(sets, texts=8):
    """The mean of some numbers, and of all but each of them."""
    values = np.random.default_rng(sets).normal(size=(sets, texts))
    left_out = (values.sum(axis=1, keepdims=True) - values) / max(texts - 1, 1)
    return values.mean(axis=1).tolist(), left_out.tolist()


def design(sets, texts, prompts=1):
    """The units of all texts of some seeds, and of each seed."""
    every = [
        [(p, seed, i) for p in range(prompts) for i in range(texts // prompts)]
        for seed in range(sets)
    ]
    whole = Inference.of_design([each for part in every for each in part])
    return whole, [Inference.of_design(part) for part in every]


@pytest.mark.parametrize("sets", [1, 10, MANY - 1])
def test_few_sets_have_the_jackknife_over_their_texts(sets):
    values, left_out = means_and_left_out(sets)
    found = of_sets(*design(sets, 8), values, left_out)
    assert found.value == pytest.approx(np.mean(values))
    variance = np.mean([7 * np.var(each) for each in left_out]) / sets
    assert found.variance == pytest.approx(variance)
    assert found.units == 8 * sets


def test_many_sets_have_their_own_spread():
    values, left_out = means_and_left_out(MANY)
    found = of_sets(*design(MANY, 8), values, left_out)
    assert found.interval() == pytest.approx(mean_interval(values, [1.0] * MANY))


def test_sets_of_one_text_have_their_own_spread():
    values, _ = means_and_left_out(10)
    found = of_sets(*design(10, 1), values, [[None]] * 10)
    assert found.interval() == pytest.approx(mean_interval(values, [1.0] * 10))
    assert of_sets(*design(1, 1), values[:1], [[None]]).interval() is None


def test_the_same_prompts_in_every_set_are_the_units():
    """What the prompts have in common stays, however many seeds there are."""
    level = np.random.default_rng(3).normal(size=8)
    left_out = ((level.sum() - level) / 7).tolist()
    sets = 30
    found = of_sets(*design(sets, 16, prompts=8), [float(level.mean())] * sets, [left_out] * sets)
    assert found.units == 8
    assert found.variance == pytest.approx(np.var(level, ddof=1) / 8)
