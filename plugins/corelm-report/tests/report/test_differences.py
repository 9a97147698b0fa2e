"""Differences of rows: paired where the texts are shared, independent from people's texts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from documents import TEXTS, compare

import corelm
from corelm.errors import UsageError
from corelm_report import Estimate, Inference
from corelm_report.document.content import GeneratedTexts, HumanEntry
from corelm_report.measure.comparisons import closest
from corelm_report.measure.entries import Measured


@pytest.fixture
def values():
    return np.random.default_rng(5).normal(3, 2, 40)


def test_samplers_are_compared_with_the_first_where_there_are_no_people():
    first, second = compare(["temperature(t=0.5)", "uniform"])["samplers"]
    assert first["differences"] is None
    difference = second["differences"]["teacher_forced"]["entropy.mean"]
    assert second["differences"]["against"] == "temperature(t=0.5)"
    means = [row["teacher_forced"]["entropy"]["mean"] for row in (second, first)]
    assert difference["value"] == pytest.approx(means[0] - means[1])
    low, high = difference["ci95"]
    assert low < difference["value"] < high


def test_human_text_comes_first_if_there_is_some():
    texts = [f"{a} {b}" for a in TEXTS for b in TEXTS][:12]
    document = compare(["stochastic"], reference=texts)
    [row] = document["samplers"]
    assert row["differences"]["against"] == "human"
    [figure] = row["differences"]["teacher_forced"]
    assert figure == "expected_surprisal"
    assert document["closest"] == ["stochastic"]
    difference = row["differences"]["generated_texts"]["surprisal"]
    own, people = (each["generated_texts"] for each in (row, document["reference"]))
    assert difference["value"] == own["surprisal"] - people["surprisal"]
    # Independent of each other: the errors add in squares.
    widths = [np.diff(each["ci95"]["surprisal"])[0] for each in (own, people)]
    assert np.diff(difference["ci95"])[0] == pytest.approx(np.hypot(*widths), rel=0.2)
    assert difference["units"] == 8
    assert (difference["p"] < 0.05) == (not difference["ci95"][0] <= 0 <= difference["ci95"][1])


@pytest.mark.parametrize("against", ["uniform", "uniform()", corelm.sampler("uniform")])
def test_any_row_can_be_the_one_to_compare_with(against):
    first, second = compare(["greedy", "uniform"], against=against)["samplers"]
    assert first["differences"]["against"] == "uniform"
    assert second["differences"] is None


@pytest.mark.parametrize(
    ("against", "says"), [("stochastic", "is not in the report"), ("human", "no human text")]
)
def test_a_row_that_is_not_there_is_refused(against, says):
    with pytest.raises(UsageError, match=says):
        compare(["greedy", "uniform"], against=against)


def test_differences_of_texts_are_paired():
    """Two names of one sampler write the same texts: every difference is 0, and certainly."""
    same = compare(["stochastic", "temperature(t=1.0)"], n=8)["samplers"][1]["differences"]
    assert same["against"] == "stochastic"
    for view in ("teacher_forced", "generated_texts"):
        for name, each in same[view].items():
            assert each["value"] == 0, name
            if name == "loops":  # no text loops: that is not certain of further ones
                assert each["ci95"][0] == -each["ci95"][1] < 0
            elif name not in ("rep_2", "rep_3", "diversity"):
                assert each["ci95"] in (None, [0.0, 0.0]), name


def test_recall_of_the_words_of_people_has_paired_differences():
    samplers = ["top_p(p=0.5)", "top_p(p=0.9)"]
    texts = [f"{a} {b}" for a in TEXTS for b in TEXTS]
    first, second = compare(samplers, reference=texts, against=samplers[1])["samplers"]
    for name in ("human_recall", "human_surprisal"):
        figures = [row["teacher_forced"] for row in (first, second)]
        found = first["differences"]["teacher_forced"][name]
        assert found["value"] == pytest.approx(figures[0][name] - figures[1][name])
        low, high = found["ci95"]
        assert low <= found["value"] <= high
        width = min(np.diff(each["ci95"][name])[0] for each in figures)
        assert high - low < 2 * width


def row_with(values, sample="texts"):
    """Measurements of a sampler whose texts have these surprisals."""
    ones = np.ones(len(values))
    texts = SimpleNamespace(
        records=values, estimate=lambda name: Estimate.of_ratio(sample, values, ones),
        ratios={"surprisal": (values, ones)}, units_with=lambda name: len(values),
    )  # fmt: skip
    return Measured({}, texts, Inference.of_names([]))


def people_at(surprisal, half):
    ends = {"surprisal": [surprisal - half, surprisal + half]}
    figures = GeneratedTexts(figures={"surprisal": surprisal}, ci95=ends)
    return HumanEntry(compared=True, generated_texts=figures)


def test_the_closest_are_those_that_cannot_be_told_from_the_closest_one(values):
    """At 3 nats: one at 3, one that crosses it from text to text, one surely 2 nats farther."""
    centred = values - values.mean() + 3
    noisy = 3.05 + np.random.default_rng(8).normal(0, 2, 40)
    rows = {
        "farther": row_with(centred + 2),
        "noisy": row_with(noisy),
        "best": row_with(centred),
        "nothing": row_with([]),
    }
    people = people_at(3.0, 0.1)
    found = closest(rows, people, 1)
    assert found.rows == ["noisy", "best"]
    assert (found.too_few, found.too_short) == ([], ["nothing"])
    assert [each.sampler for each in found.differences] == ["farther", "noisy", "best"]
    assert closest({"farther": rows["farther"]}, people, 1).rows == ["farther"]
    people.compared = False
    assert closest(rows, people, 1).rows == []
    assert closest(rows, None, 1).rows == closest({}, people, 1).rows == []


def test_the_error_of_human_text_keeps_rows_in_the_set(values):
    """Rows at 3.0 and 3.4, human text at 3.05 or so: with its error either may be the closest."""
    centred = values - values.mean()
    rows = {"low": row_with(3.0 + centred), "high": row_with(3.4 + centred)}
    precise = {name: row_with(np.full(40, row.texts.records.mean())) for name, row in rows.items()}
    assert closest(precise, people_at(3.05, 0.05), 1).rows == ["low"]
    assert closest(precise, people_at(3.05, 1.0), 1).rows == ["low", "high"]
    figures = GeneratedTexts(figures={"surprisal": 3.0})
    unknown = HumanEntry(compared=True, generated_texts=figures)
    assert closest(rows, unknown, 1).rows == []


def test_a_row_with_too_few_units_is_no_closest_one(values):
    """One text has no variance: before, the truly closest row was left out in 28 % to 52 %."""
    rows = {"few": row_with([3.0] * 7), "many": row_with(values, "other")}
    found = closest(rows, people_at(3.0, 0.1), 1)
    assert (found.rows, found.too_few) == (["many"], ["few"])
    assert closest({"few": rows["few"]}, people_at(3.0, 0.1), 1).rows == []
    for length in (0.4, 2.1):  # of texts of one token
        found = closest(rows, people_at(3.0, 0.1), length)
        assert (found.too_short, found.too_long)[length < 1] == ["few", "many"]
        assert found.rows == found.too_few == []
