"""Judgements of blinded pairs, by judges whose preferences and errors are known."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from corelm_report import Document
from corelm_report.judging.judge import (
    Design,
    corrected_win_rates,
    errors_of_model,
    of_first_shown,
    win_rates,
)
from corelm_report.judging.pairs import (
    JudgeVerdict,
    Pair,
    chosen,
    matched,
    pairs_as_csv,
    pairs_as_page,
    pairs_of,
    read_verdicts,
)

import corelm
from corelm.errors import UsageError
from corelm.testing import ToyModel

PROMPTS, TEXTS = 16, 8
DESIGN = Design({}, frozenset(f"prompt {i}" for i in range(60)), equal=0)
ONE = Design({}, frozenset(["prompt 0"]), equal=0)


def simulated(rng, prompts=PROMPTS, texts=TEXTS, spread=0.25, rate=0.6):
    """Return pairs with the chance that people prefer the sampler, alike within a prompt."""
    of_prompt = np.clip(rng.normal(rate, spread, prompts), 0.02, 0.98)
    pairs, chances = [], []
    for prompt in range(prompts):
        for text in range(texts):
            sample = f"prompt {prompt}", 1, text
            swapped = bool(rng.random() < 0.5)
            pairs.append(
                Pair(f"{prompt}-{text}", "top_p", "greedy", "toy", sample, ("a", "b"), swapped)
            )
            chances.append(of_prompt[prompt])
    return pairs, np.array(chances)


def verdicts(pairs, wins):
    return [
        (pair, JudgeVerdict(pair.id, float(1 - win if pair.swapped else win)))
        for pair, win in zip(pairs, wins, strict=True)
    ]


def test_win_rates_hold_over_prompts_and_would_not_over_pairs():
    """Prompts differ in how much people prefer the sampler."""
    rng, held, alone = np.random.default_rng(1), [], []
    for _ in range(400):
        pairs, chances = simulated(rng, texts=16)
        wins = (rng.random(len(pairs)) < chances).astype(float)
        [rate] = win_rates(verdicts(pairs, wins), DESIGN)
        assert rate.units == PROMPTS
        held.append(rate.ends[0] <= 0.598 <= rate.ends[1])
        half = 1.96 * np.sqrt(rate.rate * (1 - rate.rate) / len(pairs))
        alone.append(abs(rate.rate - 0.598) <= half)
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(alone) < 0.8


def test_a_few_judged_prompts_of_a_study_are_still_its_units():
    """Of 24 prompts 7 were judged: their samples would be called significant in 30 % of studies."""
    rng = np.random.default_rng(7)
    pairs, chances = simulated(rng, prompts=7, texts=16)
    wins = (rng.random(len(pairs)) < chances).astype(float)
    [rate] = win_rates(verdicts(pairs, wins), DESIGN)
    assert (rate.units, rate.ends, rate.p) == (7, None, None)
    [about_these] = win_rates(verdicts(pairs, wins), Design({}, frozenset(range(7)), equal=0))
    assert about_these.units == 16
    assert (
        DESIGN.sentence() == "Units are prompts: the win rates are about other prompts like these."
    )
    assert ONE.sentence() == "Units are samples: the win rates are about this prompt alone."


def test_equal_samplers_are_told_apart_in_five_of_a_hundred_studies():
    rng, false = np.random.default_rng(2), []
    for _ in range(400):
        pairs, chances = simulated(rng, rate=0.5)
        wins = (rng.random(len(pairs)) < chances).astype(float)
        [rate] = win_rates(verdicts(pairs, wins), DESIGN)
        false.append(rate.p_holm < 0.05)
    assert np.mean(false) <= 0.08


def test_a_model_that_errs_is_corrected_by_people_on_some_pairs():
    """The model prefers the sampler 20 points too often; its own rate is wrong in most studies."""
    rng, alone, held, widths = np.random.default_rng(3), [], [], []
    for _ in range(300):
        pairs, chances = simulated(rng, prompts=40, texts=4, spread=0.1)
        wins = (rng.random(len(pairs)) < chances).astype(float)
        of_model = np.where(rng.random(len(pairs)) < 0.5, 1.0, wins)
        judged = [i for i in range(len(pairs)) if i % 4 < 2]
        people = verdicts([pairs[i] for i in judged], wins[judged])
        model = verdicts(pairs, of_model)
        [raw], [rate] = win_rates(model, DESIGN), corrected_win_rates(people, model, DESIGN)
        alone.append(raw.ends[0] <= 0.6 <= raw.ends[1])
        held.append(rate.ends[0] <= 0.6 <= rate.ends[1])
        [few] = win_rates(people, DESIGN)
        widths.append((rate.ends[1] - rate.ends[0]) / (few.ends[1] - few.ends[0]))
    assert np.mean(alone) < 0.2
    assert 0.91 <= np.mean(held) <= 0.98
    assert np.mean(widths) < 1.1


def test_the_error_of_a_model_is_found():
    rng = np.random.default_rng(4)
    pairs, chances = simulated(rng, prompts=60, texts=20)
    wins = (rng.random(len(pairs)) < chances).astype(float)
    of_model = np.where(rng.random(len(pairs)) < 0.3, 1.0, wins)
    found = errors_of_model(verdicts(pairs, wins), verdicts(pairs, of_model), DESIGN)
    lost = 1 - wins.mean()
    assert found.agreement.value == pytest.approx(1 - 0.3 * lost, abs=0.02)
    assert found.bias.ends[0] <= 0.3 * lost <= found.bias.ends[1]
    assert errors_of_model(verdicts(pairs[:5], wins[:5]), [], DESIGN) is None


def test_several_judges_of_a_pair_are_one_unit_and_the_place_is_checked():
    pairs, _ = simulated(np.random.default_rng(5), prompts=1, texts=9)
    wins = [1.0] * 9
    one, three = (win_rates(verdicts(pairs, wins) * n, ONE)[0] for n in (1, 3))
    assert (one.units, one.ends) == (three.units, three.ends)
    always_first = [(pair, JudgeVerdict(pair.id, 1.0)) for pair in pairs]
    assert of_first_shown(always_first, ONE).ends[0] > 0.5
    [few] = win_rates(verdicts(pairs[:5], wins[:5]), ONE)
    assert few.ends is few.p is few.p_holm is None


@pytest.fixture(scope="module")
def document():
    report = corelm.compare(
        ToyModel(), ["temperature(t=1.0)", "temperature(t=0.3)", "uniform"],
        prompts=["the", "the cat", "<b>=1+1"], n=4, length=6, against="temperature(t=1.0)",
        texts="all",
    )  # fmt: skip
    return Document.from_dict(report.to_dict())


def test_pairs_are_blinded_and_are_those_of_the_report(document):
    pairs = list(pairs_of(document, "toy"))
    again = [pair.id for pair in pairs_of(document, "toy")]
    assert [pair.id for pair in pairs] == again
    assert len({pair.id for pair in pairs}) == len(pairs)
    assert {pair.swapped for pair in pairs} == {True, False}
    texts = {(t.prompt, t.sample): t.text for t in document.samplers[0].texts}
    for pair in pairs:
        assert texts[pair.sample[0], pair.sample[2]] == pair.texts[1]
        assert sorted(pair.shown) == sorted(pair.texts)
    for written in (pairs_as_csv(pairs), pairs_as_page(pairs)):
        assert "temperature" not in written
        assert "uniform" not in written
    page = pairs_as_page(pairs)
    assert "<b>" not in page
    assert "default-src 'none'" in page
    assert "://" not in page


def test_few_pairs_are_spread_over_prompts(document):
    few = chosen(list(pairs_of(document, "toy")), 3)
    for sampler in ("temperature(t=0.3)", "uniform"):
        prompts = {pair.sample[0] for pair in few if pair.sampler == sampler}
        assert len(prompts) == 3


def test_a_formula_is_no_formula_in_a_spreadsheet():
    pair = Pair("x", "a", "b", "toy", ("=1+1", 1, 0), ("@a", "-b"), False)
    assert pairs_as_csv([pair]).splitlines()[1] == "x,'=1+1,'@a,'-b,,"


def test_verdicts_are_read_from_csv_and_json_lines(tmp_path, document):
    pairs = list(pairs_of(document, "toy"))[:3]
    (tmp_path / "v.csv").write_text(
        f"\ufeffpair,verdict,judge\n{pairs[0].id},First,Ann\n{pairs[1].id},,Ann\n"
    )
    (tmp_path / "v.jsonl").write_text(json.dumps({"pair": pairs[2].id, "verdict": "tie"}) + "\n")
    found = [*read_verdicts(tmp_path / "v.csv"), *read_verdicts(tmp_path / "v.jsonl")]
    assert found == [JudgeVerdict(pairs[0].id, 1.0, "Ann"), JudgeVerdict(pairs[2].id, 0.5)]
    assert [pair for pair, _ in matched(found, pairs, "v.csv")] == [pairs[0], pairs[2]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("v.csv", "id,verdict\n", "no column pair"),
        ("v.csv", "pair,verdict\nx,better\n", "line 2 of v.csv: a verdict is one of first"),
        ("v.jsonl", "[1]", "line 1 of v.jsonl is no JSON object"),
        ("v.jsonl", "{", "line 1 of v.jsonl is not JSON"),
        ("v.jsonl", '{"pair": 3, "verdict": "tie"}', "line 1"),
    ],
)
def test_other_files_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_verdicts(tmp_path / name)


def test_a_verdict_of_a_different_study_is_refused():
    with pytest.raises(UsageError, match="which the results lack"):
        matched([JudgeVerdict("x", 1.0)], [], "v.csv")


STUDY = """
models = ["toy"]
samplers = ["temperature(t=1.0)", "temperature(t=0.3)"]
prompts = ["the", "the cat", "the dog", "a", "the mat", "cat", "dog", "mat"]
n = 2
length = 6
texts = "all"
against = "temperature(t=1.0)"
[write]
forms = []
plots = []
"""


def test_the_command_writes_pairs_and_reads_verdicts(tmp_path, monkeypatch, run):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    assert run("study", "run", "study.toml").code == 0
    assert run("study", "judge", "study.toml", "--write", "pairs.csv").code == 0
    assert run("study", "judge", "study.toml", "--write", "pairs.html", "--pairs", "3").code == 0
    assert (tmp_path / "pairs.html").read_text().count("<fieldset") == 3
    lines = list(csv.DictReader(io.StringIO((tmp_path / "pairs.csv").read_text())))
    for name, judge in (("people.csv", "first"), ("model.csv", "tie")):
        with (tmp_path / name).open("w") as file:
            writer = csv.writer(file)
            writer.writerow(["pair", "verdict"])
            writer.writerows([line["pair"], judge] for line in lines)
    done = run("study", "judge", "study.toml", "--people", "people.csv", "--by-model", "model.csv")
    assert done.code == 0
    assert "Verdicts of people" in done.out
    assert "The text shown first was preferred in 100" in done.out
    assert "corrected by people's" in done.out
    assert run("study", "judge", "study.toml").code == 2
