"""Judgements of blinded pairs, by judges whose preferences and errors are known."""

from __future__ import annotations

import csv
import io
import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import corelm
from corelm.commands import Output
from corelm_pages.report import document_of
from corelm_study.judging.judge import (
    Design,
    corrected_win_rates,
    errors_of_model,
    of_first_shown,
    show_verdicts,
    win_rates,
)
from corelm_study.judging.pairs import Pair, pairs_of

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
        (pair, float(1 - win if pair.swapped else win))
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
    judged = verdicts(pairs, wins), verdicts(pairs, of_model)
    agreement, bias, *counts = errors_of_model(*judged, DESIGN)
    lost = 1 - wins.mean()
    assert agreement.value == pytest.approx(1 - 0.3 * lost, abs=0.02)
    assert bias.ends[0] <= 0.3 * lost <= bias.ends[1]
    assert counts == [len(pairs)] * 2
    assert errors_of_model(verdicts(pairs[:5], wins[:5]), [], DESIGN) is None


def test_several_judges_of_a_pair_are_one_unit_and_the_place_is_checked():
    pairs, _ = simulated(np.random.default_rng(5), prompts=1, texts=9)
    wins = [1.0] * 9
    one, three = (win_rates(verdicts(pairs, wins) * n, ONE)[0] for n in (1, 3))
    assert (one.units, one.ends) == (three.units, three.ends)
    always_first = [(pair, 1.0) for pair in pairs]
    assert of_first_shown(always_first, ONE).ends[0] > 0.5
    [few] = win_rates(verdicts(pairs[:5], wins[:5]), ONE)
    assert few.ends is few.p is few.p_holm is of_first_shown(always_first[:5], ONE).ends is None
    won = verdicts(pairs, wins)
    assert corrected_win_rates(won, verdicts(pairs, [0.5] * 9), ONE) == win_rates(won, ONE)
    [alike] = corrected_win_rates(won[:8], won, ONE)
    assert (alike.rate, alike.ends, alike.p) == (1.0, None, None)
    [above] = corrected_win_rates(won[:8], verdicts(pairs, [0.0, 1.0] * 4 + [1.0]), ONE)
    assert (above.rate, above.ends[1]) == (1.0, 1.0)


STUDY = """
models = ["toy"]
samplers = ["temperature(t=1.0)", "temperature(t=0.3)", "uniform"]
prompts = ["the", "the cat", "<b>=1+1", "a", "the mat", "cat", "dog", "=mat"]
n = 2
length = 6
texts = "all"
against = "temperature(t=1.0)"
[write]
forms = ["json"]
plots = []
"""


@pytest.fixture
def judge(tmp_path, monkeypatch, run):
    """A function that judges the pairs of a study, which was run."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(STUDY)
    assert run("study", "run", "study.toml").code == 0
    return lambda *words: run("study", "judge", "study.toml", *words)


def written(judge, name, *words):
    """The pairs that are written to a file."""
    assert judge("--write", name, *words).code == 0
    return list(csv.DictReader(io.StringIO(Path(name).read_text())))


def test_pairs_are_blinded_and_are_those_of_the_report(judge):
    pairs = written(judge, "pairs.csv")
    assert pairs == written(judge, "again.csv")
    assert len({pair["pair"] for pair in pairs}) == len(pairs)
    document = json.loads(Path("study/toy/report.json").read_text())
    against, *others = ({text["text"] for text in row["texts"]} for row in document["samplers"])
    places = set()
    for pair in pairs:
        _, prompt, *shown, _, _ = pair.values()
        assert prompt.removeprefix("'") in document["header"]["prompts"]
        assert prompt not in ("=mat", "=1+1")  # a formula is no formula in a spreadsheet
        places.add(tuple(text in against for text in shown))
        assert all(text in against.union(*others) for text in shown)
    assert {(True, False), (False, True)} <= places
    few = written(judge, "few.csv", "--pairs", "3")  # of each sampler, spread over the prompts
    assert len(few) == 6
    assert len({pair["prompt"] for pair in few}) >= 3
    assert judge("--write", "pairs.html", "--pairs", "3").code == 0
    page = Path("pairs.html").read_text()
    assert page.count("<fieldset") == 6
    assert "default-src 'none'" in page
    for text in ("<b>", "://", "temperature", "uniform"):
        assert text not in page
    assert "temperature" not in Path("pairs.csv").read_text()


def test_the_command_reads_verdicts_from_csv_and_json_lines(judge):
    pairs = [pair["pair"] for pair in written(judge, "pairs.csv")]
    for name, verdict in (("people.csv", "First"), ("model.csv", "tie")):
        lines = [f"{pair},{verdict},Ann" for pair in pairs[2:]]
        heading = ["\ufeffpair,verdict,judge", f"{pairs[1]},,Ann"]  # a pair that nobody judged
        Path(name).write_text("\r".join([*heading, *lines]))  # as old spreadsheets
    Path("more.jsonl").write_text(json.dumps({"pair": pairs[0], "verdict": "first"}))
    people = ("--people", "people.csv", "--people", "more.jsonl")
    done = judge(*people, "--by-model", "model.csv")
    assert done.code == 0
    assert "Verdicts of people" in done.out
    assert "The text shown first was preferred in 100" in done.out
    assert "corrected by people's" in done.out
    assert "Of the pairs that both have judged, none is without a tie" in done.out
    judged = re.findall(r"(?:temperature\(t=0\.3\)|uniform) .*?(\d+) +\d+ *$", done.out, re.M)
    assert sum(map(int, judged[:2])) == len(pairs) - 1
    assert judge().code == 2


def test_each_rate_of_several_models_names_its_model(judge, capsys):
    report = corelm.Report.read("study/toy/report.json")
    reports = [("one", report), ("other", report)]
    pairs = [pair for model, each in reports for pair in pairs_of(document_of(each), model)]
    lines = [f"{pair.id},first" for pair in pairs if pair.texts[0] != pair.texts[1]]
    Path("people.csv").write_text("\n".join(["pair,verdict", *lines]))
    capsys.readouterr()
    with Output.open() as out:
        show_verdicts(reports, [Path("people.csv")], [], out)
    rows = re.findall(r"(\S+) over temperature\(t=1\.0\), (\w+) ", capsys.readouterr().out)
    assert sorted(rows) == [*product(["temperature(t=0.3)", "uniform"], ["one", "other"])]


def rates(done):
    """The win rate and the pairs of the first sampler, and the judges of people."""
    assert done.code == 0, done.err
    row = r"over temperature\(t=1\.0\) +(\S+) .*?(\d+) +\d+ *$"
    [judges] = re.findall(r"Verdicts of people, (\d+) judge", done.out)
    return *re.findall(row, done.out, re.M)[0], int(judges)


def test_a_judge_counts_once_on_a_pair(judge):
    """Under one name in several files, in a copy, or twice in one file."""
    pairs = [pair["pair"] for pair in written(judge, "pairs.csv")]

    def file(name, verdicts, judged_by=""):
        lines = [f"{pair},{verdict},{judged_by}" for pair, verdict in verdicts]
        Path(name).write_text("\n".join(["pair,verdict,judge", *lines]))
        return "--people", name

    first, tie = ([(pair, verdict) for pair in pairs] for verdict in ("first", "tie"))
    ann, bob = file("ann.csv", first, "Ann"), file("bob.csv", tie, "Bob")
    both = judge(*ann, *bob)
    [rate, count, judges] = rates(both)
    assert (judges, both.err) == (2, "")
    assert rates(judge(*ann))[0] != rate
    Path("copy.csv").write_text(Path("ann.csv").read_text())
    copied = judge(*ann, *bob, "--people", "copy.csv")
    assert (rates(copied), "'copy.csv' is a copy of 'ann.csv'" in copied.err) == (rates(both), True)
    again = judge(*ann, *bob, *file("again.csv", first[3:], " ANN "))
    said = f"{len(pairs) - 3} pairs judged more than once by the same judge"
    assert (rates(again), said in again.err) == (rates(both), True)
    [tied, *others] = rates(judge(*file("each.csv", first + [(p, "second") for p in pairs], "Ann")))
    assert (tied, others) == (rates(judge(*bob))[0], [count, 1])
    alike = judge(*ann, *bob, *file("eve.csv", first, "Eve"))
    assert rates(alike)[2] == 3
    assert f"'eve' and 'ann' gave the same verdict on each of {len(pairs)} pairs" in alike.err
    as_both = judge(*ann, "--by-model", "copy.csv")
    assert f"On {len(pairs)} pairs that both have judged, the model agrees" in as_both.out
    _, model = file("model.csv", first[:9] + tie[9:])
    assert f"On the 9 of {len(pairs)} pairs that both" in judge(*ann, "--by-model", model).out


def test_other_files_are_refused(judge):
    pair, _, one, two, *_ = written(judge, "pairs.csv")[0].values()
    swapped = f'pair,first,second,verdict\n{pair},"{two}","{one}",first\n'
    for name, text, message in (
        ("v.csv", "id,verdict\n", "no column pair"),
        ("v.csv", "pair,verdict\nx,better\n", "line 2 of v.csv: a verdict is one of first"),
        ("v.csv", "pair,verdict\nx,first\n", "which the results lack"),
        ("v.csv", swapped, f"line 2 of v.csv: the first text isn't the one of the pair {pair}"),
        ("v.csv", f"pair,verdict,verdict\n{pair},,tie\n", "has the column verdict more than once"),
        ("v.csv", "pair,judge\n", "no column verdict"),
        ("v.csv", "", "no column pair, verdict"),
        ("v.csv", f"pair,verdict\n{pair},\0first\n", "line 2 of v.csv: a verdict is one of first"),
        ("v.csv", f"pair,verdict\n{pair},{'x' * 200_000}\n", "v.csv: field larger"),
        ("v.csv", f"pair,verdict\n{pair},\n", "there is no verdict on any pair"),
        ("v.jsonl", "[1]", "line 1 of v.jsonl must be a JSON object, not [1]"),
        ("v.jsonl", "{", "line 1 of v.jsonl is not JSON"),
        ("v.jsonl", f'{{"pair": "{pair}", "verdict": "tie", "verdict": "first"}}', "line 1"),
        ("v.jsonl", '{"pair": 3, "verdict": "tie"}', "line 1 of v.jsonl: pair must be a name, not"),
    ):
        Path(name).write_text(text)
        done = judge("--people", name)
        assert (done.code, message in " ".join(done.err.split())) == (2, True), done.err
