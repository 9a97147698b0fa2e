"""Two reports side by side: what differs beyond its interval, and what else differs."""

from __future__ import annotations

import copy
import json
from typing import Any, NamedTuple

import pytest

Document = dict[str, Any]


class Comparison(NamedTuple):
    """A comparison of two reports by the command."""

    same: bool
    document: Document
    markdown: str


@pytest.fixture
def compared(tmp_path, run):
    """A function that compares two documents as `corelm report --diff` does."""

    def compare(before: Document, after: Document) -> Comparison:
        files = [tmp_path / name for name in ("a.json", "b.json", "d.json", "d.md")]
        for file, document in zip(files, (before, after), strict=False):
            file.write_text(json.dumps(document), "utf-8")
        names = [str(file) for file in files]
        done = run("report", "--diff", *names[:2], "--json", names[2], "--markdown", names[3])
        written, markdown = (file.read_text("utf-8") for file in files[2:])
        return Comparison(done.code == 0, json.loads(written), markdown)

    return compare


def figure(compared: Document, sampler: str, metric: str) -> Document:
    row = next(row for row in compared["rows"] if row["sampler"] == sampler)
    return next(each for each in row["figures"] if each["metric"] == metric)


def metrics(compared: Document) -> set[str]:
    return {each["metric"] for row in compared["rows"] for each in row["figures"]}


def test_a_report_does_not_differ_from_itself(made, compared):
    found = compared(made, made)
    assert found.same
    assert found.document["schema"] == "corelm_report-diff/1"
    assert found.document["shared_draws"]
    assert found.document["header"] == []
    figures = [each for row in found.document["rows"] for each in row["figures"]]
    assert len(figures) > 50
    assert {each["beyond"] for each in figures} == {False}
    assert "share model, seed" in found.markdown
    assert "|" not in found.markdown


@pytest.mark.parametrize(("after", "ends", "differs"), [(3.0, [2.5, 3.5], True),
                                                        (1.6, [1.1, 2.1], False)])  # fmt: skip
def test_a_figure_differs_beyond_the_interval_of_independent_samples(
    document, compared, after, ends, differs
):
    other = copy.deepcopy(document)
    for each, value, interval in ((document, 1.0, [0.5, 1.5]), (other, after, ends)):
        [own] = [r["generated_texts"] for r in each["samplers"] if r["sampler"] == "uniform"]
        own["surprisal"], own["ci95"]["surprisal"] = value, interval
    found = compared(document, other)
    of_surprisal = figure(found.document, "uniform", "surprisal")
    half = 2**0.5 * 0.5  # both intervals reach 0.5 to each side
    assert of_surprisal["difference"] == pytest.approx(after - 1)
    assert of_surprisal["ci95"] == pytest.approx([after - 1 - half, after - 1 + half])
    assert of_surprisal["beyond"] is differs
    assert ("| uniform | surprisal |" in found.markdown) is differs
    assert found.same is not differs


def test_rounding_of_another_build_is_no_difference(document, compared):
    other = copy.deepcopy(document)
    for row in other["samplers"][:3]:
        row["generated_texts"]["surprisal"] *= 1 + 1e-9
    assert compared(document, other).same


def test_rows_of_one_report_only_are_named_and_parts_of_the_header(document, compared):
    other = copy.deepcopy(document)
    other["samplers"].pop(0)
    other["header"].update(seed=7, kernels=not document["header"]["kernels"])
    found = compared(document, other)
    assert (found.document["only_before"], found.document["only_after"]) == (["greedy"], [])
    assert [each["key"] for each in found.document["header"]] == ["kernels", "seed"]
    assert not found.document["shared_draws"]
    assert not found.same
    for text in ("Only in the first report: greedy.", "seed: 1, then 7.", "by chance"):
        assert text in found.markdown
    assert compared(other, document).document["only_after"] == ["greedy"]


def test_what_failed_or_is_missing_or_untested_is_named(document, compared):
    other = copy.deepcopy(document)
    lost, failed = other["samplers"][:2]
    lost["generated_texts"] |= {"surprisal": None}
    [broken] = [row for row in other["samplers"] if row.get("error")]
    other["samplers"][1] = broken | {"sampler": failed["sampler"]}
    found = compared(document, other)
    assert not found.same
    assert "Not in the second report: surprisal of greedy." in found.markdown
    both = f"{failed['sampler']} and {broken['sampler']}"
    assert f"Failed in the second report: {both}." in found.markdown.replace("\\", "")
    other = copy.deepcopy(document)
    other["samplers"][0]["teacher_forced"]["entropy"]["median"] += 1
    found = compared(document, other)
    assert found.same
    assert "Not tested, without an interval: entropy.median of greedy differs." in found.markdown


def test_matched_rows_are_the_same_whatever_value_was_found(document, compared):
    other = copy.deepcopy(document)
    target = {"open": "temperature", "figure": "entropy", "asked": "entropy=1", "target": 1.0}
    for one, name in ((document, "temperature(t=0.5)"), (other, "temperature(t=0.6)")):
        one["samplers"][1].update(sampler=name, matched=target)
    found = compared(document, other).document
    assert found["only_before"] == found["only_after"] == []
    row = next(row for row in found["rows"] if row["sampler"] == "temperature(t=0.5)")
    assert row["sampler_after"] == "temperature(t=0.6)"


def test_figures_that_depend_on_the_amount_of_text_are_left_out_where_it_differs(
    document, compared
):
    other = copy.deepcopy(document)
    other["header"]["n"] += 1
    names = metrics(compared(document, other).document)
    assert ("distinct_1" in names, "rep_2" in names) == (False, True)
    other["header"]["length"] += 1
    names = metrics(compared(document, other).document)
    assert ("rep_2" in names, "surprisal" in names) == (False, True)


def test_markdown_has_a_line_for_each_figure_that_differs(document, compared):
    other = copy.deepcopy(document)
    other["samplers"][2]["teacher_forced"]["entropy"].update(mean=1.0, ci95=[0.9, 1.1])
    other["samplers"][2]["generated_texts"]["n"] = 0
    text = compared(document, other).markdown
    assert "| sampler | figure | before | after | difference | its 95% interval |" in text
    assert "| uniform | entropy.mean | 2.40 | 1.00 | \N{MINUS SIGN}1.40 |" in text.replace("\\", "")
