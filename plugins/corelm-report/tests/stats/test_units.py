"""The independent units of texts and of sets of texts."""

from __future__ import annotations

import numpy as np
import pytest

from corelm_report import Estimate, Inference
from corelm_stats.inference import of_sets


def of_prompts(prompts, texts=1):
    return Inference.of_design([(p, 1, i) for p in range(prompts) for i in range(texts)])


@pytest.mark.parametrize(
    ("prompts", "seeds", "n", "expected"),
    [(1, 1, 8, 8), (2, 1, 9, 9), (7, 4, 2, 8), (8, 1, 1, 8), (8, 3, 64, 8), (50, 40, 1, 50)],
)
def test_the_number_of_units(prompts, seeds, n, expected):
    samples = [(p, s, i) for s in range(seeds) for p in range(prompts) for i in range(n)]
    found = Inference.of_design(samples)
    assert len(found) == expected
    assert found.about_prompts == (prompts >= 8)


def test_prompts_pair_texts_of_any_number():
    level = np.arange(8.0)
    first = of_prompts(8).estimate((level, [1] * 8))
    second = of_prompts(8, 5).estimate((np.repeat(level, 5), [1] * 40))
    assert (first - second).variance == pytest.approx(0, abs=1e-20)


def test_the_variance_between_and_within_prompts():
    """Prompts with a deviation of 2, texts with a deviation of 3."""
    rng = np.random.default_rng(1)
    values = (rng.normal(0, 2, 400)[:, None] + rng.normal(0, 3, (400, 6))).ravel()
    design = of_prompts(400, 6)
    found = design.parts((values, np.ones(2400)))
    assert found.between == pytest.approx(4, rel=0.2)
    assert found.within == pytest.approx(9, rel=0.1)
    found = design.parts((np.ones(2400), np.ones(2400)))
    assert (found.between, found.within) == (0.0, 0.0)


def test_one_text_of_each_prompt_does_not_divide_the_variance():
    assert of_prompts(9).parts((np.arange(9.0), np.ones(9))) is None
    found = of_prompts(1, 9).parts((np.arange(9.0), np.ones(9)))
    assert (found.between, found.within) == (None, pytest.approx(7.5))


def unlike(rng):
    """Eight prompts of very unlike difficulty: before, 90 % of these studies held the mean."""
    return (rng.lognormal(0, 0.7, 8), np.ones(8)), np.exp(0.7**2 / 2)


def of_unlike_length(rng):
    """The jackknife: without it, 85 % of these studies held the ratio."""
    lengths = rng.geometric(0.2, 8)
    rates = rng.normal(1, 0.3, 8) + 0.02 * lengths
    return (rates * lengths, lengths), (1 * 5 + 0.02 * (20 + 25)) / 5  # E[length^2] = 45


def drift(rng):
    """A few long texts decide the slope along a text: before, 90 % of these studies held it."""
    lengths = np.minimum(rng.geometric(0.13, 16), 40)
    y = [rng.normal(rng.normal(), 1, n) for n in lengths]
    x = [np.arange(n) for n in lengths]
    middle_x, middle_y = (np.concatenate(each).mean() for each in (x, y))
    pairs = [(at - middle_x, text - middle_y) for at, text in zip(x, y, strict=True)]
    return ([at @ text for at, text in pairs], [at @ at for at, _ in pairs]), 0


@pytest.mark.parametrize(
    ("study", "seed", "least"), [(unlike, 4, 0.91), (of_unlike_length, 5, 0.91), (drift, 1, 0.93)]
)
def test_intervals_over_prompts_hold_the_truth(study, seed, least):
    rng, held = np.random.default_rng(seed), []
    for _ in range(600):
        sums, truth = study(rng)
        low, high = of_prompts(len(sums[0])).estimate(sums).interval()
        held.append(low <= truth <= high)
    assert least <= np.mean(held) <= 0.98


def test_units_of_equal_weight_and_pairs_have_the_degrees_of_freedom_of_their_number():
    values, lengths = np.arange(16.0) ** 2, np.array([1.0, 9.0] * 8)
    alike, unlike = (of_prompts(16).estimate((values * n, n)) for n in (np.ones(16), lengths))
    assert alike.effective == {key: pytest.approx(16) for key in alike.influence}
    assert list(unlike.effective.values()) == [pytest.approx(80**2 / (8 * 82))]
    assert (unlike - alike).effective == {}
    other = Inference.of_texts(range(16)).estimate((values, lengths))
    assert len((unlike - other).effective) == 2


# Sets of several seeds; from 20 on, their own spread is more accurate


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


@pytest.mark.parametrize("sets", [1, 10, 19])
def test_few_sets_have_the_jackknife_over_their_texts(sets):
    values, left_out = means_and_left_out(sets)
    found = of_sets(*design(sets, 8), values, left_out)
    assert found.value == pytest.approx(np.mean(values))
    variance = np.mean([7 * np.var(each) for each in left_out]) / sets
    assert found.variance == pytest.approx(variance)
    assert found.units == 8 * sets


@pytest.mark.parametrize(("sets", "texts"), [(20, 8), (10, 1)])
def test_many_sets_and_sets_of_one_text_have_their_own_spread(sets, texts):
    values, left_out = means_and_left_out(sets)
    found = of_sets(*design(sets, texts), values, left_out if texts > 1 else [[None]] * sets)
    expected = Estimate.of_ratio("sets", values, np.ones(sets)).interval()
    assert found.interval() == pytest.approx(expected)
    assert of_sets(*design(1, 1), values[:1], [[None]]).interval() is None


def test_the_same_prompts_in_every_set_are_the_units():
    """What the prompts have in common stays, however many seeds there are."""
    level = np.random.default_rng(3).normal(size=8)
    left_out = ((level.sum() - level) / 7).tolist()
    sets = 30
    found = of_sets(*design(sets, 16, prompts=8), [float(level.mean())] * sets, [left_out] * sets)
    assert found.units == 8
    assert found.variance == pytest.approx(np.var(level, ddof=1) / 8)
