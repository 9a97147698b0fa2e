"""Figures that depend on the number of texts are compared at an equal number only."""

from __future__ import annotations

import csv
from itertools import pairwise

import numpy as np
import pytest

import corelm
from corelm.testing import ToyModel

OF_SETS = {"distinct_1", "distinct_2", "distinct_3", "self_bleu_4", "zipf", "compression"}
LENGTH = 20


def texts(expression, n, seed=1):
    """Texts of the toy model."""
    options = {"sampler": expression, "length": LENGTH, "n": n, "seed": seed}
    return [f"the{text.text}" for text in corelm.generate(ToyModel(), "the", **options)]


def report(n, reference, samplers=("temperature(t=0.6)",), **asked):
    return corelm.compare(
        ToyModel(),
        samplers,
        prompts="the",
        n=n,
        length=LENGTH,
        reference=reference,
        contexts=96,
        **{"against": "human", **asked},
    ).to_dict()


@pytest.fixture(scope="module")
def people():
    return texts("temperature(t=1.2)", 96, seed=9)


def test_eight_texts_are_compared_with_sets_of_eight_human_ones(people):
    """Alike, 8 texts are more diverse than 96; the truth is a difference of the other sign."""
    document = report(8, people)
    own, other = document["samplers"][0], document["reference"]
    assert (other["generated_texts"]["n"], other["generated_texts"]["set_size"]) == (96, 8)
    difference = own["differences"]["generated_texts"]["distinct_2"]
    pairs = [pair for each in people for pair in pairwise(each.split())]
    of_all = len(set(pairs)) / len(pairs)
    assert own["generated_texts"]["distinct_2"] > of_all  # a bold + before
    assert difference["value"] < 0
    assert difference["ci95"][0] < difference["value"] < difference["ci95"][1]


def test_the_csv_has_the_size_of_the_sets(people):
    lines = list(csv.DictReader(corelm.Report(report(8, people)).to_csv().splitlines()))
    sizes = {(each["sampler"], each["metric"]): (each["n"], each["set_size"]) for each in lines}
    assert sizes["human", "distinct_2"] == ("96", "8")
    assert sizes["temperature(t=0.6)", "distinct_2"] == ("8", "8")
    assert sizes["human", "rep_2"] == ("96", "")


def of_sampler(n, seed, reference=None):
    """The figures of texts, compared with sets of 8 human ones."""
    asked = {"prompts": "the", "n": n, "length": LENGTH, "seed": seed, "reference": reference}
    made = corelm.compare(ToyModel(), ["temperature(t=0.8)"], contexts=8, **asked).to_dict()
    return made["samplers"][0]["generated_texts"]


@pytest.mark.long
def test_subsets_have_the_figures_of_sets_drawn_that_size():
    """Human texts in sets of 8 have the figures of 8 texts that the same sampler wrote."""
    sets = [of_sampler(8, seed) for seed in range(40)]
    hits, names = 0, ("distinct_2", "self_bleu_4", "zipf")
    truth = {name: np.mean([each[name] for each in sets]) for name in names}
    for seed in range(12):
        written = texts("temperature(t=0.8)", 96, 1000 + seed)
        human = report(8, [text.removeprefix("the ") for text in written])["reference"]
        assert human["generated_texts"]["set_size"] == 8
        for name in names:
            low, high = human["generated_texts"]["ci95"][name]
            hits += low <= truth[name] <= high
    assert hits >= 30  # of 36, each with 95 %


def test_fewer_human_texts_have_no_figures_of_sets(people):
    document = report(8, people[:5])
    human = document["reference"]["generated_texts"]
    assert {name for name in OF_SETS if human[name] is not None} == set()
    assert human["diversity"] is not None
    assert not OF_SETS & set(document["samplers"][0]["differences"]["generated_texts"])
    assert any("the reference has 5, fewer than the 8" in each for each in document["warnings"])


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
