"""Intervals and statements that hold at every moment, in studies that look after every batch."""

from __future__ import annotations

import json

import numpy as np
import pytest

import corelm
from corelm.errors import ReportError, UsageError
from corelm.testing import ToyModel
from corelm_report import Document, Inference
from corelm_report.measure.until import growing
from corelm_report.plan.plan import plan
from corelm_stats.inference import anytime_share_interval

FIRST, LAST = 32, 512


def ever_wrong(values, truth, anytime):
    """Return whether any interval excludes the truth, looking after every 4 texts."""
    for n in range(FIRST, LAST, 4):
        units = Inference(tuple(range(n)), tuple(range(n)), anytime=anytime)
        low, high = units.estimate((values[:n], np.ones(n))).interval()
        if not low <= truth <= high:
            return True
    return False


def test_means_hold_at_all_looks_and_the_usual_intervals_do_not():
    """Surprisals are skewed: gamma with a shape of 2."""
    rng = np.random.default_rng(1)
    studies = [rng.gamma(2, 1, LAST) for _ in range(150)]
    assert np.mean([ever_wrong(values, 2, True) for values in studies]) <= 0.06
    assert np.mean([ever_wrong(values, 2, False) for values in studies[:40]]) > 0.2


@pytest.mark.parametrize("share", [0.003, 0.1, 0.5])
def test_shares_hold_at_all_looks(share):
    rng, wrong = np.random.default_rng(2), []
    for _ in range(150):
        hits = (rng.random(LAST) < share).astype(float)
        ends = [anytime_share_interval(hits[:n].tolist()) for n in range(1, LAST, 7)]
        wrong.append(any(not low <= share <= high for low, high in ends))
    assert np.mean(wrong) <= 0.06


def test_shares_of_texts_of_a_prompt_need_not_be_0_or_1():
    low, high = anytime_share_interval([0.5] * 40)
    assert low < 0.5 < high
    assert anytime_share_interval([]) == [0.0, 1.0]


def stops(values, always):
    """True if p is below 5 % at a look at the study while it grows."""
    for n in range(FIRST, LAST, 8):
        units = Inference(tuple(range(n)), tuple(range(n)), anytime=always)
        if units.estimate((values[:n], np.ones(n))).p_value() < 0.05:
            return True
    return False


def test_a_study_that_stops_when_it_pleases_is_right():
    """It stops at the first look with p < 5 %, of a difference that is 0."""
    studies = np.random.default_rng(3).normal(0, 1, (150, LAST))
    assert np.mean([stops(values, True) for values in studies]) <= 0.06
    assert np.mean([stops(values, False) for values in studies[:40]]) > 0.2


def test_the_p_value_is_below_5_percent_where_the_interval_excludes_0():
    rng = np.random.default_rng(4)
    for _ in range(60):
        values = rng.normal(0.4, 1, 40)
        units = Inference(tuple(range(40)), tuple(range(40)), anytime=True)
        own = units.estimate((values, np.ones(40)))
        low, high = (own - own.moved(0.0, 0.0)).interval()
        assert (own.p_value() < 0.05) == (not low <= 0 <= high)


def asked(prompts, n=64):
    return plan(ToyModel(), "toy", ["temperature(t=1.0)"], prompts=prompts, n=n, length=4)


def test_texts_are_added_to_few_prompts_and_prompts_to_many():
    assert [each.n for each in growing(asked(["the", "cat"], n=50))] == [32, 50]
    stages = list(growing(asked([f"the {i}" for i in range(40)], n=2)))
    assert [len(each.prompts) for each in stages] == [32, 40]
    assert set(stages[0].prompts) < set(stages[1].prompts)
    assert all(each.n == 2 and each.anytime for each in stages)
    clusters = {f"the {i}": f"document {i // 2}" for i in range(80)}
    stages = list(growing(asked(clusters, n=2)))
    assert [len(set(each.clusters)) for each in stages] == [32, 40]
    assert [len(each.prompts) for each in stages] == [64, 80]


@pytest.mark.parametrize(
    "text",
    ["width(entropy_drift) < 1", "surprisal < 0.1", "width(surprisal) > 0.1", "width(x) < 1",
     "width(zipf) < 0", "width(entropy) < 1", "width(human_recall) < 1",
     "width(constraint_cost) < 1", "width(surprisal.difference) < 1"],
)  # fmt: skip
def test_another_condition_is_refused(text):
    with pytest.raises(UsageError):
        corelm.compare(ToyModel(), ["greedy"], until=text)


def test_the_command_stops_by_itself(tmp_path, run):
    file, prompts = tmp_path / "report.json", tmp_path / "prompts.txt"
    prompts.write_text("the")
    done = run(
        "report", "temperature(t=1.0)", "temperature(t=0.5)", "--model", "toy", "--length", "6",
        "-n", "4096", "--prompts", str(prompts), "--until", "width(surprisal) < 0.9",
        "--json", str(file),
    )  # fmt: skip
    assert done.code == 0
    assert "width(surprisal) < 0.9: reached" in done.err
    document = Document.from_dict(json.loads(file.read_text()))
    assert 16 <= document.header.n < 4096
    assert "at every moment" in document.header.ci
    assert "Wilson" not in document.header.ci
    for entry in document.samplers:
        low, high = entry.generated_texts.ci95["surprisal"]
        assert high - low < 0.9
    fixed = corelm.compare(
        ToyModel(), ["temperature(t=1.0)"], prompts=document.header.prompts,
        n=document.header.n, length=6,
    ).to_dict()  # fmt: skip
    low, high = fixed["samplers"][0]["generated_texts"]["ci95"]["surprisal"]
    own = document.samplers[0].generated_texts.ci95["surprisal"]
    assert own[0] < low < high < own[1]


def test_python_stops_as_the_command_does(tmp_path, run):
    settings = ["temperature(t=1.0)", "temperature(t=0.5)"]
    condition, file = "width(surprisal) < 0.9", tmp_path / "report.json"
    report = corelm.compare("toy", settings, n=4096, length=6, until=condition, texts="all")
    run(
        "report", *settings, "--model", "toy", "--length", "6", "-n", "4096",
        "--until", condition, "--texts", "all", "--json", str(file),
    )  # fmt: skip
    own, other = report.to_dict(), json.loads(file.read_text())
    assert own["header"]["until"] == f"{condition}: reached"
    assert own["samplers"] == other["samplers"]
    with pytest.raises(ReportError, match="fixed beforehand"):
        report.to_csv("test")
    with pytest.raises(UsageError, match="cannot read the condition"):
        corelm.compare(ToyModel(), settings, until="surprisal < 1")
    for others, said in ((settings, "reached by the samplers that were measured"),
                         ([], "not reached (every sampler failed)")):  # fmt: skip
        failed = corelm.compare("toy", [*others, "fails(at=2)"], n=33, until="width(surprisal) < 9")
        assert failed.to_dict()["header"]["until"] == f"width(surprisal) < 9: {said}"


def test_a_report_that_reaches_its_most_says_so(run, tmp_path):
    done = run(
        "report", "uniform", "--model", "toy", "--length", "3", "-n", "20",
        "--until", "width(surprisal) < 0.0001", "--details", "--html", str(tmp_path / "r.html"),
    )  # fmt: skip
    missed = "width(surprisal) < 0.0001: not reached (uniform has "
    assert all(missed in " ".join(text.split()) for text in (done.err, done.out))
    assert "not reached (uniform has " in (tmp_path / "r.html").read_text()
    refused = run(
        "report", "uniform", "--model", "toy", "--until", "width(surprisal) < 1", "--resume"
    )
    assert refused.code == 2
