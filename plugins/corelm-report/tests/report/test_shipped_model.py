"""A whole report on the shipped model: laws that hold for any numbers."""

from __future__ import annotations

import math

import jsonschema
import pytest

import corelm
from corelm_report import schema

pytestmark = pytest.mark.slow  # the report that all share takes seconds


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The default set, with fewer and shorter texts, on a fresh machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORELM_HOME", str(tmp_path_factory.mktemp("home")))
        return corelm.compare("imdb", n=32, length=40).to_dict()


def row(document, sampler):
    return next(row for row in document["samplers"] if row["sampler"] == sampler)


def temperatures(document):
    return [row for row in document["samplers"] if row["name"] == "temperature"]


def test_it_follows_the_schema_and_nothing_failed(document):
    jsonschema.validate(document, schema())
    assert [row["error"] for row in document["samplers"]] == [None] * 8
    assert document["header"]["failed_plugins"] == []


def test_entropies_lie_within_their_bounds(document):
    assert document["drawable"] == 14_998
    assert document["bounds"] == {"min": 0.0, "max": math.log(14_998)}
    for each in document["samplers"]:
        entropy = each["teacher_forced"]["entropy"]
        assert 0 <= entropy["p05"] <= entropy["median"] <= entropy["p95"]
        assert entropy["p95"] <= document["bounds"]["max"] + 1e-9
        low, high = entropy["ci95"]
        assert low - 1e-9 <= entropy["mean"] <= high + 1e-9


def test_greedy_has_no_entropy_and_uniform_the_largest(document):
    assert row(document, "greedy")["teacher_forced"]["entropy"]["mean"] == 0
    uniform = row(document, "uniform")["teacher_forced"]
    assert uniform["entropy"]["mean"] == pytest.approx(math.log(14_998), rel=1e-12)
    assert uniform["tokens_kept"] == 14_998


def test_entropy_rises_with_the_temperature(document):
    means = [each["teacher_forced"]["entropy"]["mean"] for each in temperatures(document)]
    assert means == sorted(set(means))
    entropies = document["curve"]["entropy"]
    assert entropies == sorted(entropies)
    assert min(document["curve"]["slope"]) >= 0
    for each in temperatures(document):  # its mark lies on the curve
        at = document["curve"]["t"].index(each["params"]["t"])
        assert entropies[at] == pytest.approx(each["teacher_forced"]["entropy"]["mean"], abs=1e-6)


def test_divergence_is_expected_surprisal_less_entropy(document):
    """But for the end of a text, which expected surprisal leaves out, and which is rare here."""
    for each in document["samplers"]:
        same = each["teacher_forced"]
        assert same["kl_to_model"] == pytest.approx(
            same["expected_surprisal"] - same["entropy"]["mean"], abs=0.02
        )
    assert row(document, "temperature(t=1.0)")["teacher_forced"]["kl_to_model"] == 0


def test_drawn_tokens_have_the_expected_surprisal(document):
    """`stochastic` wrote the contexts itself, with the same random numbers."""
    plain = row(document, "temperature(t=1.0)")
    low, high = plain["generated_texts"]["ci95"]["surprisal"]
    assert low <= plain["teacher_forced"]["expected_surprisal"] <= high


def test_the_human_row_is_there(document):
    human = document["reference"]
    assert human["teacher_forced"]["model_entropy"]["mean"] == pytest.approx(4.29, abs=0.1)
    assert human["generated_texts"]["surprisal"] == pytest.approx(4.20, abs=0.1)
    assert all(
        each["generated_texts"]["outside_human_band"] is not None for each in document["samplers"]
    )


def test_the_summary(document):
    report = corelm.Report(document)
    assert report.summary.startswith("temperature(t=1.0) is closest to human text. temperature(")
    assert "uniform are too random; greedy" in report.summary
    said = report.evidence
    assert said.startswith(
        "Only temperature(t=1.0) may be the closest to human text by surprisal: "
    )
    assert "uniform sample from the tail (expected surprisal " in said
    assert " and 13." in said.split("sample from the tail")[1]
    assert " nats, the model's own 4.17; the intervals begin 3.59 nats above it, at 99%" in said
