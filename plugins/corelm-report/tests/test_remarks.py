"""Remarks on the conclusions: unequal entropy, the sources of error, a second scorer."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report import Document, Estimate, Inference
from corelm_report.document.content import Difference, Differences, SamplerEntry
from corelm_report.document.header import ModelName
from corelm_report.document.remarks import (
    conclusions,
    error_parts,
    error_sentences,
    flip_sentences,
    randomness_sentences,
    table_of,
)
from corelm_report.measure.entries import Measured
from corelm_report.measure.matching import _widened
from scipy import stats

import corelm
from corelm.testing import ToyModel

OPEN = ("temperature", "top_k(k=5) | temperature")
NAMES = ("temperature(t=1.0)", "top_p(p=0.5)")


def compared(**more):
    return corelm.compare(
        ToyModel(), list(NAMES), prompts="the", n=64, length=8, against=NAMES[0], **more
    )


def test_texts_that_differ_at_unequal_entropy_are_named():
    text = compared().to_markdown()
    assert " differs from temperature(t=1.0) in entropy, by" in text
    assert "--match entropy=" in text


def test_settings_of_one_sampler_and_matched_samplers_are_not():
    report = corelm.compare(
        ToyModel(), ["temperature(t=1.0)", "temperature(t=0.5)"], prompts="the", n=64, length=8,
        against="temperature(t=1.0)",
    )  # fmt: skip
    assert "before you call one better" not in report.to_markdown()
    matched = corelm.compare(
        ToyModel(), list(OPEN), prompts="the", n=64, length=8, match="entropy=1",
        against="temperature",
    )  # fmt: skip
    assert "before you call one better" not in matched.to_markdown()


@pytest.mark.parametrize(("ends", "named"), [([0.1, 0.3], True), ([-0.1, 0.3], False)])
def test_only_differences_beyond_chance_count(ends, named):
    document = Document.from_dict(compared().to_dict())
    entry: SamplerEntry = document.samplers[1]
    entry.differences = Differences(
        against=NAMES[0],
        teacher_forced={"entropy.mean": Difference(value=-0.4, ci95=[-0.5, -0.3])},
        generated_texts={"surprisal": Difference(value=0.2, ci95=ends)},
    )
    assert bool(list(randomness_sentences(document))) == named


def test_the_error_of_matching_is_a_part_of_the_difference():
    """Entropies that differ by chance on 400 contexts: the slope carries it on to surprisal."""
    rng = np.random.default_rng(1)

    class Texts:
        def __init__(self, values):
            self.values = values

        def estimate(self, name):
            return Estimate.of_ratio("texts", self.values, np.ones(len(self.values)))

    contexts = Inference.of_names(range(400))
    entropies = rng.normal(2, 0.5, (2, 400))
    shared = rng.normal(3, 1, 50)
    own, other = (
        Measured({"entropy": [[each] for each in of]}, Texts(shared + by), contexts)
        for of, by in zip(entropies, rng.normal(0, 0.1, (2, 50)), strict=True)
    )
    narrow = own.texts.estimate("surprisal") - other.texts.estimate("surprisal")
    found = Difference(value=narrow.value, ci95=narrow.interval(), p=narrow.p_value(), units=50)
    wide = _widened(found, own, other, 1.5)
    noise = 1.5**2 * 2 * 0.5**2 / 400
    assert wide.value == found.value
    assert (wide.ci95[1] - wide.ci95[0]) / (found.ci95[1] - found.ci95[0]) == pytest.approx(
        np.sqrt(1 + noise / narrow.variance), rel=0.1
    )
    assert _widened(found, own, other, None) is found


def test_matched_samplers_have_wider_differences_than_the_same_settings():
    matched = corelm.compare(
        ToyModel(), list(OPEN), prompts=["the", "a"], n=32, length=8, match="entropy=1",
        against="temperature",
    ).to_dict()  # fmt: skip
    names = [entry["sampler"] for entry in matched["samplers"]]
    fixed = corelm.compare(
        ToyModel(), names, prompts=["the", "a"], n=32, length=8, against=names[0]
    ).to_dict()
    first, second = (
        each["samplers"][1]["differences"]["generated_texts"]["surprisal"]
        for each in (matched, fixed)
    )
    assert first["value"] == pytest.approx(second["value"])
    assert first["ci95"][0] < second["ci95"][0] < second["ci95"][1] < first["ci95"][1]


@pytest.fixture(scope="module")
def empty():
    return corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=2).to_dict()


def of_variances(empty, prompts, texts, found, clusters=None):
    document = Document.from_dict(empty)
    document.header.prompts = [f"prompt {i}" for i in range(prompts)]
    document.header.clusters, document.header.n, document.header.seeds = clusters, texts, [1]
    differences = Differences(against="human", generated_texts={"surprisal": found})
    document.samplers = [SamplerEntry(sampler="greedy", differences=differences)]
    return document


def test_the_parts_are_those_that_texts_were_drawn_with(empty):
    """Prompts with a variance of 4, texts with 16, and a human sample with 0.25."""
    rng = np.random.default_rng(3)
    prompts, texts = 2000, 8
    values = rng.normal(0, 2, (prompts, 1)) + rng.normal(0, 4, (prompts, texts))
    design = Inference.of_design([(p, 1, i) for p in range(prompts) for i in range(texts)])
    parts = design.parts((values.ravel(), np.ones(values.size)))
    found = Difference(value=0.0, ci95=None, between=parts.between, within=parts.within, other=0.25)
    of = error_parts(of_variances(empty, 8, 32, found))
    assert of.of_prompts == pytest.approx(4 / 8, rel=0.1)
    assert of.of_texts == pytest.approx(16 / 256, rel=0.1)
    assert of.of_human == 0.25


def test_a_cheaper_design_is_as_precise_and_is_named(empty):
    """Prompts are nearly all of the error, so more of them with fewer texts are as good."""
    found = Difference(value=0.0, ci95=None, between=4.0, within=16.0)
    document = of_variances(empty, 8, 32, found)
    of = error_parts(document)
    assert of.better.cost < 0.8 * 256
    assert of.better.prompts > 8
    # As narrow with Student's quantiles, which are larger with 8 prompts than with more.
    old, new = (
        stats.t.ppf(0.975, design.prompts - 1) ** 2 * (4 / design.prompts + 16 / design.cost)
        for design in (of.design, of.better)
    )
    assert 0.8 * old < new <= 1.001 * old
    first, second = error_sentences(document)
    assert "89% is from the choice of prompts and 11% is from the texts of each" in first
    assert second.startswith(f"{of.better.prompts} prompts x {of.better.texts} text")
    assert "as 8 x 32" in second


def test_a_design_that_is_good_already_is_kept(empty):
    found = Difference(value=0.0, ci95=None, between=1e-6, within=16.0)
    assert error_parts(of_variances(empty, 64, 1, found)).better is None


def test_where_human_text_decides_more_of_it_is_the_advice(empty):
    found = Difference(value=0.0, ci95=None, between=0.1, within=0.1, other=5.0)
    sentences = error_sentences(of_variances(empty, 20, 1, found))
    assert "human sample" in sentences[0]
    assert sentences[1] == "More human texts would help most."


def test_few_prompts_have_no_part_and_documents_have_their_name(empty):
    found = Difference(value=0.0, ci95=None, between=4.0, within=16.0)
    few = error_parts(of_variances(empty, 2, 32, found))
    assert few.of_prompts is None
    clusters = [f"document {i // 4}" for i in range(32)]
    document = of_variances(empty, 32, 8, found, clusters)
    assert error_parts(document).design.prompts == 8
    assert "choice of clusters" in error_sentences(document)[0]


def test_a_report_has_the_sentence_and_one_without_variances_none(empty):
    assert error_sentences(Document.from_dict(empty)) == []
    report = corelm.compare(
        ToyModel(), ["temperature(t=1.0)", "temperature(t=0.6)"],
        prompts=["the", "the cat", "the dog", "a", "the mat", "cat", "dog", "the cat sat"],
        n=4, length=8, against="temperature(t=1.0)",
    )  # fmt: skip
    assert "Of the variance of the difference in surprisal of temperature(t=0.6)" in (
        report.to_markdown()
    )


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
