"""The parts of the error of a report, where the variances are known."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_report.document.content import Difference, Differences, Document, SamplerEntry
from corelm_report.document.error_parts import error_parts, error_sentences
from corelm_report.metrics.inference import Inference
from scipy import stats

import corelm
from corelm.testing import ToyModel


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
