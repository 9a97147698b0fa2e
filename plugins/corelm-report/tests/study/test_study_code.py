"""The code of metrics and of models is part of a study: an edit is measured, locked and named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import python

from corelm import load
from corelm.runs import NamedModel
from corelm.scaling.job import jobs_of
from corelm.testing import ToyModel
from corelm_report.plan.plan import plan

PLUGIN = '''
import numpy as np

import corelm
from corelm.testing import ToyModel


class OfSet(corelm.SetMetric):
    meaning = "a constant"

    def figure(self, tokens, texts):
        return {figure}


class OfText(corelm.TextMetric):
    meaning = "a constant"

    def of_text(self, tokens, text):
        return {text}


class OfToken(corelm.TokenMetric):
    meaning = "a constant"

    def of_token(self, logits):
        return logits.argmax(axis=-1) * 0 + {token}


def shifted():
    """Load a model of three words; after the word that the prompt ends with, it stays the same."""
    logits = {shift} * np.eye(6)
    logits[5] = 0
    return ToyModel(["cat", "dog", "the"], logits)


@corelm.hookimpl
def corelm_metrics():
    return {{"set_": OfSet, "text": OfText, "token": OfToken}}


@corelm.hookimpl
def corelm_models():
    return {{"shifted": shifted}}
'''
FIRST = {"figure": 1, "text": 2, "token": 3, "shift": 0.0}
STUDY = """
models = ["{model}"]
samplers = ["greedy", "uniform"]
prompts = "prompts.txt"
metrics = ["{metric}"]
n = 2
length = 4

[write]
folder = "results"
forms = ["json"]
plots = []
"""


@pytest.fixture
def edited(installed_plugin: Callable[..., Path]) -> Callable[..., None]:
    """A function that writes the plugin, with some of its numbers changed."""
    points = dict.fromkeys(("set_", "text", "token", "shifted"), "corelm_constants")
    site = installed_plugin("corelm-constants", points, PLUGIN.format(**FIRST))

    def edit(**changed: float) -> None:
        (site / "corelm_constants.py").write_text(PLUGIN.format(**FIRST | changed))
        shutil.rmtree(site / "__pycache__", ignore_errors=True)  # by a clock of whole seconds

    return edit


@pytest.fixture
def study(edited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    (tmp_path / "prompts.txt").write_text("the\n")
    file = tmp_path / "study.toml"
    file.write_text(STUDY.format(model="imdb", metric="text"))
    return file


def corelm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "corelm", *map(str, words))


def figures(study: Path, model: str = "imdb") -> dict[str, float]:
    """Run the study in a process of its own, and return the figures of its second sampler."""
    assert corelm("study", "run", study).returncode == 0
    document = json.loads((study.parent / f"results/{model}/report.json").read_bytes())
    return document["samplers"][1]["generated_texts"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["figure", "text", "token"])
def test_an_edited_metric_is_measured_again_and_named(study, edited, kind):
    name = f"corelm-constants:{'set_' if kind == 'figure' else kind}"
    study.write_text(STUDY.format(model="imdb", metric=name))
    assert figures(study)[name] == FIRST[kind]
    shutil.copytree(study.parent / "results", study.parent / "before")
    edited(**{kind: 7})
    assert figures(study)[name] == 7
    compared = corelm("study", "diff", study.parent / "before", study)
    assert "Made by: other code: corelm_constants." in compared.stdout


@pytest.mark.slow
def test_an_edited_model_of_a_plugin_is_measured_again(study, edited):
    study.write_text(STUDY.format(model="shifted", metric="mattr"))
    before = figures(study, "shifted")
    edited(shift=2)  # not after the prompt, by whose distribution the model is known
    assert figures(study, "shifted")["surprisal"] != before["surprisal"]


@pytest.mark.slow
def test_the_record_is_of_one_meaning_whatever_the_title_holds(study):
    title = "A\\u001b[31m\\u202ered\\n```\\nrm -rf /"
    named = study.rename(study.with_name("my $(study).toml"))
    named.write_text(f'title = "{title}"\n{STUDY.format(model="imdb", metric="mattr")}')
    figures(named)
    lines = (study.parent / "results/repeat.md").read_text().splitlines()
    assert lines[0] == "# How to repeat: A[31mred ``` rm -rf /"
    assert "corelm study run 'my $(study).toml'" in lines
    assert lines.count("```") == 2


@pytest.mark.slow
def test_the_record_names_the_plugins_of_metrics_models_and_scorers(study):
    text = STUDY.format(model="imdb", metric="mattr").replace('"greedy", ', '"p_less", ')
    study.write_text('scorer = "shifted"\n' + text)
    figures(study)
    folder = study.parent / "results"
    lock = json.loads((folder / "study.json").read_bytes())
    assert lock["plugins"].keys() == {
        "corelm",
        "corelm-constants",
        "corelm-lexical",
        "corelm-p-less",
    }
    assert lock["code"].keys() >= {"corelm_constants", "corelm_mattr", "corelm_p_less"}
    install = re.search(r"^pip install (.*)$", (folder / "repeat.md").read_text(), re.M)
    assert {each.partition("==")[0] for each in install[1].split()} == {*lock["plugins"], "numpy"}


def test_workers_need_the_same_code_of_reports():
    report = plan(load("imdb"), "imdb", "greedy", scorer=NamedModel(load("gpt2"), "gpt2"))
    given = []
    report.opened(SimpleNamespace(opened=lambda *parts: given.extend(parts)))
    for job in jobs_of(*given):
        assert {"corelm", "corelm_report"} <= dict(job.code).keys()


@pytest.mark.parametrize("metric", ["set_", "text", "token"])
def test_an_interrupted_report_is_not_continued_with_an_edited_metric(edited, metric):
    settings = plan(ToyModel(), "toy", "greedy", metrics=metric).as_json()
    assert "corelm_constants" in settings["code"]
