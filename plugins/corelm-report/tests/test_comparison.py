"""Two reports side by side: what differs beyond its interval, and what else differs."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from corelm_report.cli.comparison import comparison_as_markdown, comparison_notes
from corelm_report.document.comparison import beyond, comparison, same
from documents import typed

Document = dict[str, Any]


def figure(compared: Document, sampler: str, metric: str) -> Document:
    row = next(row for row in compared["rows"] if row["sampler"] == sampler)
    return next(each for each in row["figures"] if each["metric"] == metric)


def metrics(compared: Document) -> set[str]:
    return {each["metric"] for row in compared["rows"] for each in row["figures"]}


def test_a_report_does_not_differ_from_itself(made):
    compared = comparison(typed(made), typed(made))
    assert same(compared)
    assert compared["shared_draws"]
    assert compared["header"] == []
    figures = [each for row in compared["rows"] for each in row["figures"]]
    assert len(figures) > 50
    assert {each["beyond"] for each in figures} == {False}
    assert json.loads(json.dumps(compared)) == compared


@pytest.mark.parametrize(("after", "ends", "differs"), [(3.0, [2.5, 3.5], True),
                                                        (1.6, [1.1, 2.1], False)])  # fmt: skip
def test_a_figure_differs_beyond_the_interval_of_independent_samples(
    document, after, ends, differs
):
    row = next(row for row in document["samplers"] if row["sampler"] == "uniform")
    other = copy.deepcopy(document)
    changed = next(row for row in other["samplers"] if row["sampler"] == "uniform")
    row["generated_texts"].update(surprisal=1.0)
    row["generated_texts"]["ci95"]["surprisal"] = [0.5, 1.5]
    changed["generated_texts"].update(surprisal=after)
    changed["generated_texts"]["ci95"]["surprisal"] = ends
    compared = comparison(typed(document), typed(other))
    found = figure(compared, "uniform", "surprisal")
    half = 2**0.5 * 0.5  # both intervals reach 0.5 to each side
    assert found["difference"] == pytest.approx(after - 1)
    assert found["ci95"] == pytest.approx([after - 1 - half, after - 1 + half])
    assert found["beyond"] is differs
    assert [name for name, _ in beyond(compared)] == (["uniform"] if differs else [])
    assert same(compared) is not differs


def test_rounding_of_another_build_is_no_difference(document):
    other = copy.deepcopy(document)
    for row in other["samplers"][:3]:
        row["generated_texts"]["surprisal"] *= 1 + 1e-9
    assert same(comparison(typed(document), typed(other)))


def test_rows_of_one_report_only_are_named_and_parts_of_the_header(document):
    other = copy.deepcopy(document)
    other["samplers"].pop(0)
    other["header"].update(seed=7, kernels=not document["header"]["kernels"])
    compared = comparison(typed(document), typed(other))
    assert (compared["only_before"], compared["only_after"]) == (["greedy"], [])
    assert [each["key"] for each in compared["header"]] == ["kernels", "seed"]
    assert not compared["shared_draws"]
    assert not same(compared)
    text = " ".join(comparison_notes(compared))
    assert "Only in the first report: greedy." in text
    assert "seed: 1, then 7." in text
    assert "by chance" in text
    assert "share model, seed" in " ".join(
        comparison_notes(comparison(typed(document), typed(document)))
    )
    assert comparison(typed(other), typed(document))["only_after"] == ["greedy"]


def test_matched_rows_are_the_same_whatever_value_was_found(document):
    other = copy.deepcopy(document)
    target = {"open": "temperature", "figure": "entropy", "asked": "entropy=1", "target": 1.0}
    for one, name in ((document, "temperature(t=0.5)"), (other, "temperature(t=0.6)")):
        one["samplers"][1].update(sampler=name, matched=target)
    compared = comparison(typed(document), typed(other))
    assert compared["only_before"] == compared["only_after"] == []
    row = next(row for row in compared["rows"] if row["sampler"] == "temperature(t=0.5)")
    assert row["sampler_after"] == "temperature(t=0.6)"


def test_figures_that_depend_on_the_amount_of_text_are_left_out_where_it_differs(document):
    other = copy.deepcopy(document)
    other["header"]["n"] += 1
    names = {
        each["metric"]
        for row in comparison(typed(document), typed(other))["rows"]
        for each in row["figures"]
    }
    assert "distinct_1" not in names
    assert "rep_2" in names
    other["header"]["length"] += 1
    names = {
        each["metric"]
        for row in comparison(typed(document), typed(other))["rows"]
        for each in row["figures"]
    }
    assert "rep_2" not in names
    assert "surprisal" in names


def test_markdown_has_a_line_for_each_figure_that_differs(document):
    other = copy.deepcopy(document)
    other["samplers"][2]["teacher_forced"]["entropy"].update(mean=1.0, ci95=[0.9, 1.1])
    other["samplers"][2]["generated_texts"]["n"] = 0
    text = comparison_as_markdown(comparison(typed(document), typed(other)))
    assert "| sampler | figure | before | after | difference | its 95 % interval |" in text
    assert "| uniform | entropy.mean | 2.398 | 1 | -1.398 |" in text
    assert "|" not in comparison_as_markdown(comparison(typed(document), typed(document)))
