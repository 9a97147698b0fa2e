"""The intervals of a report hold the truth: a small sample of `tests/long/coverage.py`."""

from __future__ import annotations

import pytest
from long_programs import long_program


@pytest.fixture(scope="module")
def simulation():
    return long_program("coverage")


@pytest.mark.slow
@pytest.mark.parametrize(("prompts", "texts"), [(1, 32), (4, 12)])
def test_intervals_hold_the_truth(simulation, prompts, texts):
    """Of 40 intervals with a coverage of 95 %, fewer than 33 hold the truth once in 1,500 times."""
    study = simulation.Study(texts=texts, prompts=prompts, length=12, settings=())
    found = simulation.coverage(study.run(seed) for seed in range(40))
    for name in ("surprisal", "distinct_2", "difference of surprisal"):
        assert found[name].studies == 40
        assert found[name].share >= 33 / 40, name


def test_a_share_may_be_that_of_another_figure_that_was_chosen(simulation):
    figure = simulation.Figure
    chosen = [("a", [0.5, 1.5]), ("b", [4.5, 5.5]), ("a", [2, 3])]
    studies = [
        {"a": figure(1.0, None), "b": figure(5.0, None), "best": figure(0.0, ends, name)}
        for name, ends in chosen
    ]
    found = simulation.coverage(studies)["best"]
    assert (found.share, found.below, found.above) == pytest.approx((2 / 3, 1 / 3, 0))


def test_the_share_that_holds_the_truth(simulation):
    figure = simulation.Figure
    studies = [{"a": figure(0.0, [-1, 1])}, {"a": figure(3.0, [2, 4])}, {"a": figure(0.0, None)}]
    [found] = simulation.coverage(studies).values()
    assert (found.truth, found.share, found.below, found.above) == (1.0, 0.5, 0.5, 0.0)
    assert found.studies == 2


@pytest.mark.slow
@pytest.mark.parametrize("settings", range(5))
@pytest.mark.parametrize("shared", [0, 0.8])
def test_the_interval_of_the_best_holds_wherever_the_settings_lie(simulation, settings, shared):
    truth = list(simulation.TRUE_MEANS.values())[settings]
    assert simulation.coverage_of_the_best(truth, shared, studies=100) >= 0.9
