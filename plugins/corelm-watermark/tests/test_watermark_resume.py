"""An interrupted run whose key is in the environment continues with the same key alone."""

import os
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
    ("words", "kept"), [(SAMPLE, "t.jsonl.part"), (REPORT, "home/reports/*.jsonl")]
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
