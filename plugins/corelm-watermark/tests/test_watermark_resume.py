"""An interrupted run whose key is in the environment continues with the same key alone."""

import os
import shutil
import subprocess
import sys
import time

import pytest

MARKED = "temperature(t=1) | green_list(key='env:THE_KEY')"
SAMPLE = (
    "sample", "The", "--sampler", MARKED, "-n", "640", "--length", "20", "--seed", "1",
    "--output", "t.jsonl",
)  # fmt: skip
REPORT = ("report", MARKED, "-n", "128", "--length", "20", "--json", "r.json")


@pytest.fixture
def corelm(tmp_path):
    """A function that starts a command in an empty folder, with a key in the environment."""

    def started(*words, key):
        environment = os.environ | {"THE_KEY": key, "CORELM_HOME": str(tmp_path / "home")}
        return subprocess.Popen(
            [sys.executable, "-m", "corelm", *words],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )

    return started


def lines(folder, pattern):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob(pattern))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (SAMPLE, "t.jsonl.part"),
        pytest.param(REPORT, "home/reports/*.jsonl", marks=pytest.mark.long),
    ],
)
def test_a_run_does_not_continue_with_another_key(corelm, tmp_path, words, kept):
    first = corelm(*words, key="the first secret")
    while lines(tmp_path, kept) < 3 and first.poll() is None:
        time.sleep(0.01)
    first.kill()
    first.communicate()
    other = corelm(*words, "--resume", key="the second secret")
    message = other.communicate()[1]
    assert other.returncode == 2, message
    assert "has other settings: other values of secrets: THE_KEY;" in message
    for path in tmp_path.rglob("*.json*"):
        assert "the first secret" not in path.read_text("utf-8")
    same = corelm(*words, "--resume", key="the first secret")
    message = same.communicate()[1]
    assert same.returncode == 0, message


STUDY = f"""
models = ["imdb"]
samplers = ["greedy", "{MARKED}"]
prompts = ["The"]
n = 1
length = 3
against = "greedy"
write = {{folder = "results", forms = []}}
"""


def test_a_study_with_another_key_is_not_as_registered(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("THE_KEY", "the first secret")
    (tmp_path / "study.toml").write_text(STUDY)
    study, results = str(tmp_path / "study.toml"), tmp_path / "results"
    assert run("study", "freeze", study).code == 0
    assert "As registered on" in run("study", "run", study).err
    shutil.copytree(results, tmp_path / "before")
    monkeypatch.setenv("THE_KEY", "the second secret")
    assert "other values of secrets: THE_KEY" in run("study", "run", study).err
    compared = run("study", "diff", str(tmp_path / "before"), study).out
    assert "Made by: other values of secrets: THE_KEY." in compared
    assert "second secret" not in (results / "study.json").read_text()
