"""Figures that depend on the number of texts are compared at an equal number only."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from corelm_report.measure.generated_texts import draw
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics.inference import subsets
from corelm_report.metrics.text_figures import distinct

import corelm
from corelm.runs import Endings, Strategy, Texts
from corelm.testing import ToyModel

OF_SETS = {"distinct_1", "distinct_2", "distinct_3", "self_bleu_4", "zipf", "compression"}
LENGTH = 20


def texts(expression, n, seed=1):
    """Texts of the toy model."""
    run = Texts("the", Strategy.of(expression), LENGTH, n, seed, Endings())
    return draw(ToyModel(), run, range(n))


def report(n, reference, samplers=("temperature(t=0.6)",), **asked):
    return corelm.compare(
        ToyModel(),
        samplers,
        prompts="the",
        n=n,
        length=LENGTH,
        reference=reference,
        contexts=96,
        **asked,
    ).to_dict()


@pytest.fixture(scope="module")
def people():
    return ["the" + each["text"] for each in texts("temperature(t=1.2)", 96, seed=9)]


def test_eight_texts_are_compared_with_sets_of_eight_human_ones(people):
    """Alike, 8 texts are more diverse than 96; the truth is a difference of the other sign."""
    document = report(8, people)
    own, other = document["samplers"][0], document["reference"]
    assert (other["generated_texts"]["n"], other["generated_texts"]["set_size"]) == (96, 8)
    difference = own["differences"]["generated_texts"]["distinct_2"]
    of_all = distinct([ToyModel().vocabulary.encode(each) for each in people], 2)
    assert own["generated_texts"]["distinct_2"] > of_all  # a bold + before
    assert difference["value"] < 0
    assert difference["ci95"][0] < difference["value"] < difference["ci95"][1]


def test_the_csv_has_the_size_of_the_sets(people):
    lines = list(csv.DictReader(corelm.Report(report(8, people)).to_csv().splitlines()))
    sizes = {(each["sampler"], each["metric"]): (each["n"], each["set_size"]) for each in lines}
    assert sizes["human", "distinct_2"] == ("96", "8")
    assert sizes["temperature(t=0.6)", "distinct_2"] == ("8", "8")
    assert sizes["human", "rep_2"] == ("96", "")


def test_intervals_of_shares_are_shares():
    """Nearly all phrases of these texts are different: the jackknife alone reaches beyond 1."""
    ids = np.random.default_rng(1).integers(3, 60, (8, 20)).tolist()
    records = [{**each, "tokens": own} for each, own in zip(texts("greedy", 8), ids, strict=True)]
    found = TextSet(records).summary()
    low, high = found.ci95["distinct_2"]
    assert low < found.figures["distinct_2"] < high == 1.0


@pytest.mark.slow
def test_subsets_have_the_figures_of_sets_drawn_that_size(people):
    """The mean over subsets is unbiased, and its interval holds the truth."""
    sampler = "temperature(t=0.8)"  # its texts share enough phrases for self-BLEU
    sets = [TextSet(texts(sampler, 8, seed)).of_set for seed in range(200)]
    hits = 0
    for seed in range(20):
        found = TextSet(texts(sampler, 96, 1000 + seed), set_size=8).summary()
        for name in ("distinct_2", "self_bleu_4", "zipf"):
            low, high = found.ci95[name]
            hits += low <= np.mean([each[name] for each in sets]) <= high
    assert hits >= 52  # of 60, each with 95 %


def test_fewer_human_texts_have_no_figures_of_sets(people):
    document = report(8, people[:5])
    human = document["reference"]["generated_texts"]
    assert {name for name in OF_SETS if human[name] is not None} == set()
    assert human["diversity"] is not None
    assert not OF_SETS & set(document["samplers"][0]["differences"]["generated_texts"])
    assert any("5 human texts, fewer than the 8" in each for each in document["warnings"])


@pytest.mark.slow
def test_a_decoder_with_one_text_is_not_compared_by_them(people):
    for against in ("human", "temperature(t=0.6)"):
        samplers = ("temperature(t=0.6)", "beam(width=2)")
        document = report(8, people, samplers, against=against)
        beam = document["samplers"][1]
        assert beam["generated_texts"]["set_size"] == 1
        assert not OF_SETS & set(beam["differences"]["generated_texts"])
        assert "rep_2" in beam["differences"]["generated_texts"]
        assert any("beam" in each and "distinct-n" in each for each in document["warnings"])


def test_subsets_are_disjoint_within_an_order():
    found = subsets(10, 3)
    assert len(found) == 18
    assert len({i for each in found[:3] for i in each.tolist()}) == 9
    assert all(len(set(each.tolist())) == 3 for each in found)
