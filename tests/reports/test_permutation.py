"""p-values of paired permutation tests, and Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import corelm
from corelm.errors import ReportError
from corelm.reports.render.significance import holm, p_value
from corelm.testing import ToyModel


@pytest.fixture(scope="module")
def report():
    return corelm.compare(
        ToyModel(), ["temperature(t=1.0)", "temperature(t=0.3)", "temperature(t=0.99)"],
        prompts=["the", "the cat"], n=10, length=8, seeds=[1, 2], texts="all",
        against="temperature(t=1.0)",
    )  # fmt: skip


@pytest.mark.parametrize("n", [3, 5, 12])
def test_a_small_p_value_is_exact(n):
    differences = np.random.default_rng(n).normal(0.5, size=n)
    found = stats.permutation_test(
        (differences, np.zeros(n)), lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples", n_resamples=np.inf, vectorized=True,
    )  # fmt: skip
    assert p_value(differences) == pytest.approx(found.pvalue)


def test_a_large_one_is_near_the_t_test():
    differences = np.random.default_rng(8).normal(0.15, size=200)
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert 0.0005 < expected < 0.5
    assert p_value(differences) == pytest.approx(expected, abs=0.01)


def test_without_a_difference_five_of_a_hundred_are_below_5_percent():
    random = np.random.default_rng(3)
    found = np.array([p_value(random.normal(size=10)) for _ in range(400)])
    assert 0.03 < np.mean(found <= 0.05) < 0.075


def test_holm_is_that_of_statsmodels_definition():
    assert holm([]) == []
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.04, 0.001, 0.02]) == pytest.approx([0.04, 0.003, 0.04])


def test_a_report_has_a_test_of_each_figure(report):
    frame = report.to_pandas("test").set_index(["sampler", "metric"])
    cold = frame.loc["temperature(t=0.3)", "surprisal"]
    assert cold.n == 40
    assert cold.difference < 0
    assert cold.p_holm < 0.01
    same = frame.loc["temperature(t=0.99)", "surprisal"]
    assert same.p_holm > 0.5
    assert set(frame.against) == {"temperature(t=1.0)"}
    assert report.to_csv("test").splitlines()[0].startswith("sampler,name,temperature.t,")


def test_differences_and_seeds_are_lines_too(report):
    document = report.to_dict()
    frame = report.to_pandas("difference").set_index(["sampler", "metric"])
    own = document["samplers"][1]["differences"]["generated_texts"]["surprisal"]
    found = frame.loc["temperature(t=0.3)", "surprisal"]
    assert [found.value, found.low, found.high] == [own["value"], *own["ci95"]]
    seeds = report.to_pandas("seed")
    assert seeds.seed.tolist() == [1, 2] * 3
    by_seed = document["samplers"][1]["generated_texts"]["by_seed"]["surprisal"]["values"]
    assert seeds[seeds.sampler == "temperature(t=0.3)"].surprisal.tolist() == by_seed
    assert report.to_pandas("sampler").seed.tolist() == [None] * 3
    lines = report.to_pandas()
    lines = lines[(lines.sampler == "temperature(t=0.3)") & (lines.metric == "surprisal")]
    assert lines.seed.tolist()[1:] == [1, 2]
    assert lines.value.tolist()[1:] == by_seed
    assert lines.difference.tolist()[0] == own["value"]
    assert lines.difference_low.tolist()[0] == own["ci95"][0]
    assert lines.against.tolist()[0] == "temperature(t=1.0)"


def test_tests_need_every_text():
    report = corelm.compare(ToyModel(), ["greedy", "uniform"], n=7, length=3, texts=2)
    with pytest.raises(ReportError, match=r'keeps 2 of uniform: make it with texts="all"'):
        report.to_pandas("test")


def test_tests_need_pairs():
    report = corelm.compare(
        ToyModel(), ["greedy"], n=2, length=3, texts="all", reference=["the cat sat"]
    )
    with pytest.raises(ReportError, match="the differences are from human"):
        report.to_pandas("test")
