"""The independent units of texts and of sets of texts; the closest row where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.human_baseline import figures_of_sets
from corelm_report.metrics.conclusions import VarianceParts, closest_set
from corelm_report.metrics.estimates import Estimate, mean_interval
from corelm_report.metrics.inference import HUMAN, MANY_SETS, Inference, of_sets
from corelm_report.metrics.intervals import drift
from corelm_report.metrics.text_figures import distinct, text_figures


@pytest.mark.parametrize(
    ("prompts", "seeds", "n", "expected"),
    [(1, 1, 8, 8), (2, 1, 9, 9), (7, 4, 2, 8), (8, 1, 1, 8), (8, 3, 64, 8), (50, 40, 1, 50)],
)
def test_the_number_of_units(prompts, seeds, n, expected):
    samples = [(p, s, i) for s in range(seeds) for p in range(prompts) for i in range(n)]
    found = Inference.of_design(samples)
    assert len(found) == expected
    assert found.about_prompts == (prompts >= 8)


def test_the_sums_of_units():
    sums = [1.0, 2.0, 4.0], [1, 2, 3]
    assert Inference.of_names([0, 1, 0]).by_unit(sums) == ([5.0, 2.0], [4.0, 2.0])


def test_texts_that_are_the_same_are_one_unit():
    """Eight copies of two human texts say as much as two."""
    copies = Inference.of_texts(["a", "b"] * 8)
    assert len(copies) == 2
    assert copies.estimate(([1.0, 2.0] * 8, [1] * 16)).interval() is None


def test_samplers_are_paired_and_human_texts_are_not():
    samples = [("a prompt", 0, i) for i in range(9)]
    values = np.arange(9.0)
    own, other, human = (
        Inference.of_design(samples, source).estimate((values, [1] * 9))
        for source in ("generated", "generated", HUMAN)
    )
    assert (own - other).variance == 0
    assert (own - human).variance == pytest.approx(2 * own.variance)


def test_prompts_pair_texts_of_any_number():
    one, many = (
        Inference.of_design([(p, 1, i) for p in range(8) for i in range(n)]) for n in (1, 5)
    )
    level = np.arange(8.0)
    first = one.estimate((level, [1] * 8))
    second = many.estimate((np.repeat(level, 5), [1] * 40))
    assert (first - second).variance == pytest.approx(0, abs=1e-20)


def test_the_variance_between_and_within_prompts():
    """Prompts with a deviation of 2, texts with a deviation of 3."""
    rng = np.random.default_rng(1)
    between = rng.normal(0, 2, 400)
    values = (between[:, None] + rng.normal(0, 3, (400, 6))).ravel()
    design = Inference.of_design([(p, 1, i) for p in range(400) for i in range(6)])
    found = design.parts((values, np.ones(2400)))
    assert found.between == pytest.approx(4, rel=0.2)
    assert found.within == pytest.approx(9, rel=0.1)
    assert design.parts((np.ones(2400), np.ones(2400))) == VarianceParts(0.0, 0.0)


def test_one_text_of_each_prompt_does_not_divide_the_variance():
    design = Inference.of_design([(p, 1, 0) for p in range(9)])
    assert design.parts((np.arange(9.0), np.ones(9))) is None
    one = Inference.of_design([("a", 1, i) for i in range(9)])
    assert one.parts((np.arange(9.0), np.ones(9))) == VarianceParts(None, pytest.approx(7.5))


def test_a_few_unlike_prompts_are_held():
    """Eight prompts of very unlike difficulty: before, 90 % of these studies held the mean."""
    rng, held = np.random.default_rng(4), []
    for _ in range(600):
        values = rng.lognormal(0, 0.7, 8)
        design = Inference.of_design([(p, 1, 0) for p in range(8)])
        low, high = design.estimate((values, np.ones(8))).interval()
        held.append(low <= np.exp(0.7**2 / 2) <= high)
    assert 0.91 <= np.mean(held) <= 0.98


def test_prompts_of_unlike_length_are_held():
    """The jackknife: without it, 85 % of these studies held the ratio."""
    rng, held = np.random.default_rng(5), []
    for _ in range(600):
        lengths = rng.geometric(0.2, 8)
        rates = rng.normal(1, 0.3, 8) + 0.02 * lengths
        design = Inference.of_design([(p, 1, 0) for p in range(8)])
        low, high = design.estimate((rates * lengths, lengths)).interval()
        truth = (1 * 5 + 0.02 * (20 + 25)) / 5  # E[length] = 5, E[length^2] = 45
        held.append(low <= truth <= high)
    assert 0.91 <= np.mean(held) <= 0.98


def test_the_drift_of_texts_of_random_length_is_held():
    """A few long texts decide the slope: before, 90 % of these studies held it."""
    rng, held = np.random.default_rng(1), []
    design = Inference.of_design([(p, 1, 0) for p in range(16)])
    for _ in range(600):
        lengths = np.minimum(rng.geometric(0.13, 16), 40)
        texts = [rng.normal(rng.normal(), 1, n) for n in lengths]
        low, high = design.estimate(drift(texts)).interval()
        held.append(low <= 0 <= high)
    assert 0.93 <= np.mean(held) <= 0.98


def test_units_of_equal_weight_and_pairs_have_the_degrees_of_freedom_of_their_number():
    values, lengths = np.arange(16.0) ** 2, np.array([1.0, 9.0] * 8)
    design = Inference.of_design([(p, 1, 0) for p in range(16)])
    alike, unlike = (design.estimate((values * n, n)) for n in (np.ones(16), lengths))
    assert alike.effective == {key: pytest.approx(16) for key in alike.influence}
    assert list(unlike.effective.values()) == [pytest.approx(80**2 / (8 * 82))]
    assert (unlike - alike).effective == {}
    other = Inference.of_texts(range(16)).estimate((values, lengths))
    assert len((unlike - other).effective) == 2


def test_the_closest_row_is_in_the_set_in_95_of_100_studies():
    """Six rows near the target, whose own error is as large as theirs."""
    rng, missed = np.random.default_rng(3), 0
    truths = dict(zip("abcdef", (-0.9, -0.6, -0.1, 0.2, 0.5, 0.8), strict=True))
    ones = np.ones(16)
    for _ in range(300):
        shared = rng.normal(0, 1, 16)
        rows = {
            name: Estimate.of_ratio("texts", shared + rng.normal(at, 0.3, 16), ones)
            for name, at in truths.items()
        }
        target = Estimate.of_ratio("human", rng.normal(0, 1, 16), ones)
        missed += "c" not in closest_set(rows, target)
    assert missed / 300 <= 0.05


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


@pytest.mark.parametrize("sets", [1, 10, MANY_SETS - 1])
def test_few_sets_have_the_jackknife_over_their_texts(sets):
    values, left_out = means_and_left_out(sets)
    found = of_sets(*design(sets, 8), values, left_out)
    assert found.value == pytest.approx(np.mean(values))
    variance = np.mean([7 * np.var(each) for each in left_out]) / sets
    assert found.variance == pytest.approx(variance)
    assert found.units == 8 * sets


def test_many_sets_have_their_own_spread():
    values, left_out = means_and_left_out(MANY_SETS)
    found = of_sets(*design(MANY_SETS, 8), values, left_out)
    assert found.interval() == pytest.approx(mean_interval(values, [1.0] * MANY_SETS))


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
