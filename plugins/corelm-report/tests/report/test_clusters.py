"""Prompts that belong to clusters: documents whose effect all their prompts share."""

from __future__ import annotations

import json

import numpy as np
import pytest

import corelm
from corelm.errors import UsageError
from corelm.testing import ToyModel
from corelm_pages.permutation_tests import permutation_tests
from corelm_report import Document, Inference
from corelm_study.study_file import parse_prompts

DOCUMENTS, PAGES = 16, 4


def held(clustered: bool) -> float:
    """Return the share of studies whose interval holds the truth, 0: pages share a document."""
    rng, found = np.random.default_rng(1), []
    samples = [(page, 1, 0) for page in range(DOCUMENTS * PAGES)]
    clusters = {page: page // PAGES for page in range(DOCUMENTS * PAGES)} if clustered else None
    design = Inference.of_design(samples, clusters=clusters)
    for _ in range(600):
        documents = rng.normal(0, 1, (DOCUMENTS, 1)) + rng.normal(0, 0.3, (DOCUMENTS, PAGES))
        low, high = design.estimate((documents.ravel(), np.ones(documents.size))).interval()
        found.append(low <= 0 <= high)
    return float(np.mean(found))


def test_intervals_over_documents_hold_and_those_over_pages_do_not():
    assert 0.93 <= held(clustered=True) <= 0.97
    assert held(clustered=False) < 0.75


@pytest.mark.parametrize(("documents", "pages", "units"), [(8, 2, 8), (7, 2, 3), (1, 20, 3)])
def test_few_documents_are_no_units(documents, pages, units):
    """With fewer than 8, a statement is about these documents: the texts are the units."""
    prompts = range(documents * pages)
    samples = [(prompt, 1, i) for prompt in prompts for i in range(3)]
    found = Inference.of_design(samples, clusters={p: p % documents for p in prompts})
    assert len(found) == units
    assert found.about_prompts == (documents >= 8)


@pytest.fixture(scope="module")
def report():
    words = ["the", "cat", "dog", "mat", "sat", "ran", "a", "saw"]
    prompts = {f"{word} {rest}": word for word in words for rest in words[:2]}
    return corelm.compare(
        ToyModel(), ["temperature(t=1.0)", "temperature(t=0.5)"], prompts=prompts, n=2, length=6,
        against="temperature(t=1.0)", texts="all",
    )  # fmt: skip


def test_a_report_has_the_documents_as_units_everywhere(report):
    document = report.to_dict()
    assert len(document["header"]["prompts"]) == len(document["header"]["clusters"]) == 16
    for entry in document["samplers"]:
        assert entry["generated_texts"]["units"] == 8
    differences = document["samplers"][1]["differences"]
    assert differences["generated_texts"]["surprisal"]["units"] == 8
    assert differences["generated_texts"]["loops"]["units"] == 8
    assert differences["teacher_forced"]["entropy.mean"]["units"] == 8
    assert {test.units for test in permutation_tests(Document.from_dict(document))} == {8}


def test_prompts_alone_would_be_twice_as_many(report):
    prompts = report.to_dict()["header"]["prompts"]
    alone = corelm.compare(ToyModel(), ["uniform"], prompts=prompts, n=1, length=3).to_dict()
    assert alone["samplers"][0]["generated_texts"]["units"] == 16
    assert "clusters" not in alone["header"]
    few = {prompt: prompt[0] for prompt in prompts}
    few = corelm.compare(ToyModel(), ["uniform"], prompts=few, n=1, length=3).to_dict()
    needed = "texts of each prompt (-n), or as many clusters of prompts (--prompts)"
    assert f"intervals need at least 8 {needed}" in few["warnings"]


def test_the_command_and_a_study_read_the_clusters(tmp_path, monkeypatch, run):
    lines = [{"prompt": f"the {i}", "cluster": f"document {i // 2}"} for i in range(16)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "study.toml").write_text(
        'models = ["toy"]\nsamplers = ["uniform"]\nprompts = "prompts.jsonl"\nn = 1\nlength = 3\n'
        '[write]\nforms = ["json"]\nplots = []'
    )
    file = tmp_path / "report.json"
    place = str(tmp_path / "prompts.jsonl")
    result = run(
        "report", "uniform", "--model", "toy", "--prompts", place, "-n", "1", "--length", "3",
        "--json", str(file),
    )  # fmt: skip
    assert result.code == 0
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    assert run("study", "run", str(tmp_path / "study.toml")).code == 0
    for report in (file, tmp_path / "study/toy/report.json"):
        assert json.loads(report.read_text())["samplers"][0]["generated_texts"]["units"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a", "cluster": "1"}\n{"prompt": "b"}', "'b' has no cluster"),
        ('{"prompt": "a", "cluster": "1"}\n{"prompt": "a", "cluster": "2"}', "two clusters"),
        ('{"prompt": 3}', "line 1 of p.jsonl has no prompt: expected a string or"),
        ('"a"\n{', "line 2 of p.jsonl"),
        ('{"prompt": "a", "cluster": true}', "line 1"),
        ("\n\n", "there is no prompt in p.jsonl"),
    ],
)
def test_a_file_that_is_none_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_prompts(text, "p.jsonl")


def test_a_file_without_clusters_is_a_list():
    assert parse_prompts('"a"\n{"prompt": "b\\u2028c"}', "p.jsonl") == ["a", "b\u2028c"]
    assert parse_prompts("a\n\n b\n", "p.txt") == ["a", " b"]
