"""The intervals of a report hold the truth: a small sample of the programs in `tests/long`."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.measure.generated_texts import draw
from documents import texts
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


@pytest.fixture(scope="module")
def designs():
    return long_program("designs")


@pytest.fixture(scope="module")
def pool(designs):
    return designs.Pool.drawn("chain", samples=64, length=8)


@pytest.mark.slow
def test_the_chain_is_as_surprising_as_can_be_computed(designs, pool):
    model, prompts = designs.chain()
    exact = np.array([designs.exact(model, prompt, 8, 0.8) for prompt in prompts])
    nats, tokens = pool.sums[0]["surprisal"]
    means = nats / tokens
    error = means.std(axis=1, ddof=1) / np.sqrt(means.shape[1])
    scores = (means.mean(axis=1) - exact) / error
    assert np.abs(scores).max() < 4.5
    assert np.mean(scores**2) == pytest.approx(1, abs=0.7)


@pytest.mark.slow
@pytest.mark.parametrize("design", [(1, 64, 1), (4, 8, 1), (7, 1, 10), (50, 1, 1), (50, 2, 1)])
def test_intervals_hold_the_truth_in_every_design(designs, pool, design):
    """Of 100 studies, 95 should hold it; fewer than 86 once in 2,500 times."""
    held = designs.coverage(pool, design, studies=100, sets=0)
    for name in ("surprisal", "difference of surprisal"):
        known = [each for each in held[name] if each is not None]
        assert len(known) >= 20, name
        assert np.mean(known) >= 0.86, name


@pytest.mark.slow
def test_prompts_that_shared_random_numbers_would_be_noticed(designs):
    pool = designs.Pool.drawn("chain", samples=64, length=8, shared=True)
    rng = np.random.default_rng(6)
    truth = pool.sums[0]["surprisal"].sum(axis=(1, 2))
    held = 0
    for _ in range(100):
        tops, bottoms = pool.sums[0]["surprisal"][:, :, rng.integers(64)]  # one text a prompt
        found = designs.Inference.of_names(range(len(tops))).estimate((tops, bottoms))
        low, high = found.interval()
        held += low <= truth[0] / truth[1] <= high
    assert held < 86


@pytest.mark.slow
def test_compression_of_few_short_texts_is_not_underestimated(designs):
    """The ratio is skewed: an interval symmetric around it ends below the truth in 11 of 100."""
    model, prompts = designs.chain()
    records = draw(model, texts(prompts[0], designs.SAMPLERS[0], 12), range(400))
    rng = np.random.default_rng(8)
    sets = [
        designs.TextSet([records[i] for i in rng.choice(400, 12, replace=False)]).summary()
        for _ in range(200)
    ]
    truth = np.mean([each.figures["compression"] for each in sets])
    ends = np.array([each.ci95["compression"] for each in sets if each.ci95["compression"]])
    assert len(ends) > 150
    assert np.mean(ends[:, 0] > truth) < 0.06
    assert np.mean(ends[:, 1] < truth) < 0.07


@pytest.mark.slow
def test_a_study_has_the_intervals_of_a_report(designs, pool):
    study = designs.Study.of((8, 2, 1), pool, np.random.default_rng(7))
    found = {name: ends for name, _, ends in study.means(pool)}
    ends = study.text_set(pool.records[0]).summary().ci95
    for name in ("surprisal", "rep_2"):
        assert ends[name] == pytest.approx(found[name])


def test_the_table_of_designs_has_a_dash_where_most_studies_have_no_interval(designs):
    held = {"surprisal": [True, False, True, True], "rep_2": [True, None, None, None]}
    row = designs._row("chain", "1 x 4 x 1", 4, held)
    assert row[:6] == ["chain", "1 x 4 x 1", "4", "75.0%", "-", "-"]
