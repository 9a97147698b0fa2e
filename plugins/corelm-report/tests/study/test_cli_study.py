"""`corelm study`: its four subcommands, and what a mistake is answered with."""

from __future__ import annotations

import json
import shutil

import pytest

STUDY = """
models = ["toy"]
samplers = ["temperature(t=1.0)", "temperature(t=0.5)"]
prompts = ["the"]
n = 12
length = 6
against = "temperature(t=1.0)"

[write]
folder = "results"
forms = ["latex", "p_values"]
plots = ["pdf"]
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study in the current folder, in a home of its own."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "study.toml"
    file.write_text(STUDY)
    return file


@pytest.mark.slow
def test_a_study_is_run_twice_shown_and_compared(run, study, tmp_path):
    first = run("study", "run", "study.toml")
    assert first.code == 0
    assert "parts measured, 0 taken from earlier runs" in first.err
    assert "temperature(t=0.5)" in first.out
    folder = tmp_path / "results" / "toy"
    names = {path.name for path in folder.iterdir()}
    assert {"report.json", "table.tex", "p_values.csv"} <= names
    assert {path.suffix for path in folder.iterdir()} == {".json", ".tex", ".csv", ".pdf"}
    assert "p_holm" in (folder / "p_values.csv").read_text().splitlines()[0]
    shutil.copytree(tmp_path / "results", tmp_path / "before")
    second = run("study", "run", "study.toml")
    assert second.out == first.out
    assert "0 parts measured, 1 taken from earlier runs" in second.err
    shown = run("study", "show", "study.toml")
    assert shown.code == 0
    assert "Made by corelm" in shown.out
    compared = run("study", "diff", "before", "study.toml")
    assert (compared.code, compared.err) == (0, "")
    assert "The same settings, data, versions and code made both." in compared.out


def test_texts_without_details_are_drawn_again_once_they_are_kept(run, study, tmp_path):
    begun = STUDY.replace('prompts = ["the"]\n', "").replace('"p_values"', '"csv"')
    for kept in (1, 3):
        study.write_text(begun.replace("n = 12", f"texts = {kept}\nn = 4"))
        assert run("study", "run", "study.toml").code == 0
        report = json.loads((tmp_path / "results" / "toy" / "report.json").read_text("utf-8"))
        texts = report["samplers"][0]["texts"]
        assert [len(text["tokens"]) > 0 for text in texts] == [True] * kept


def test_results_of_an_edited_study_are_said_to_be_older(run, study):
    study.write_text(STUDY.replace("n = 12", "n = 2").replace('"p_values"', '"csv"'))
    assert run("study", "run", "study.toml").code == 0
    assert "older" not in run("study", "show", "study.toml").err
    study.write_text(study.read_text().replace("length = 6", "length = 7"))
    shown = run("study", "show", "study.toml")
    assert shown.code == 0
    assert "these results are older than study.toml (length" in shown.err
    assert "run the study again" in shown.err


def test_a_pilot_says_how_many_texts_a_difference_needs(run, study, tmp_path):
    done = run("study", "plan", "study.toml", "--difference", "0.1", "--figure", "surprisal")
    assert done.code == 0
    assert "To find a difference of 0.1 in surprisal from temperature(t=1.0) with a" in done.out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "gone.toml"), "cannot read the study 'gone.toml': it is missing"),
        (("show", "study.toml"), "has no results of a study: it is missing"),
        (("plan", "study.toml", "--difference", "0"), "difference"),
        (("plan", "study.toml", "--difference", "1", "--figure", "rep4"), "did you mean 'rep_4'"),
    ],
)
def test_a_mistake_is_one_line(run, study, words, message):
    done = run("study", *words)
    assert done.code in (1, 2)
    assert message in done.err
    assert "Traceback" not in done.err
