"""Conclusions under several scorers side by side, and those that flip."""

from __future__ import annotations

import pytest
from corelm_report.document.content import Difference, Differences, Document, SamplerEntry
from corelm_report.document.header import ModelName
from corelm_report.document.scorers import conclusions, flip_sentences, table_of

import corelm
from corelm.testing import ToyModel


@pytest.fixture(scope="module")
def empty():
    return corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=2).to_dict()


def scored(empty, scorer, own, second):
    """Return a report with the differences of a sampler under the model and a scorer."""
    document = Document.from_dict(empty)
    document.header.second_scorer = ModelName(name=scorer, sha256=None)
    found = {
        name: Difference(value=sum(ends) / 2, ci95=ends)
        for name, ends in (("bits_per_byte", own), ("scorer_bits_per_byte", second))
    }
    differences = Differences(against="uniform", generated_texts=found)
    document.samplers = [SamplerEntry(sampler="greedy", differences=differences)]
    return document


@pytest.mark.parametrize(
    ("second", "flips"), [([0.1, 0.3], False), ([-0.3, -0.1], True), ([-0.3, 0.1], False)]
)
def test_a_conclusion_flips_if_both_scorers_have_opposite_ones(empty, second, flips):
    document = scored(empty, "second", [0.2, 0.4], second)
    [row] = conclusions([document])
    assert row.flips == flips
    [sentence] = flip_sentences(document)
    assert sentence.startswith("The conclusion on greedy flips" if flips else "No conclusion")


def test_several_scorers_stand_side_by_side(empty):
    documents = [
        scored(empty, "second", [0.2, 0.4], [0.1, 0.2]),
        scored(empty, "third", [0.2, 0.4], [-0.4, -0.2]),
    ]
    rows = conclusions(documents)
    heading, [cells] = table_of(rows)
    assert len(heading) == len(cells) == 5
    assert heading[2:4] == ["second", "third"]
    assert cells[2:] == ("+0.150 (+0.100 to +0.200)", "-0.300 (-0.400 to -0.200)", "flips")


def test_a_report_without_a_scorer_says_nothing(empty):
    assert list(flip_sentences(Document.from_dict(empty))) == []


STUDY = """
models = ["toy"]
scorer = ["imdb", "toy"]
samplers = ["temperature(t=1.0)", "temperature(t=0.5)"]
prompts = ["the"]
n = 8
length = 5
against = "temperature(t=1.0)"
[write]
forms = []
plots = []
"""


@pytest.mark.slow
def test_a_study_has_a_report_for_each_scorer_and_the_conclusions(tmp_path, monkeypatch, run):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    done = run("study", "run", "study.toml")
    assert done.code == 0
    folders = {path.name for path in (tmp_path / "study").iterdir() if path.is_dir()}
    assert folders == {"toy-scored-by-imdb", "toy-scored-by-toy"}
    assert "Differences of toy in bits per byte, by scorer" in done.out
    assert "Conclusions flip with" in done.out
    shown = run("study", "show", "study.toml")
    assert "Conclusions flip with" in shown.out
    assert run("study", "diff", "study", "study.toml").code == 0
