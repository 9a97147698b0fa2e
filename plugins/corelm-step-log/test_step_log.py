"""The step log: one JSON line a step, nothing where no log is wanted."""

import json
import logging
import math

import pytest

import corelm
import corelm.registry.registry
from corelm.testing import ToyModel

COIN = ToyModel(["heads", "tails"], logits=[0, 0, 0, 0], end=False)


@pytest.fixture
def log(tmp_path, monkeypatch):
    path = tmp_path / "steps.jsonl"
    monkeypatch.setenv("CORELM_STEP_LOG", str(path))
    return path


def generate(**options):
    return corelm.generate(COIN, "heads", sampler="greedy", length=2, seed=1, **options)


def test_every_step_is_a_line(log):
    generate(n=3)
    first, second = (json.loads(line) for line in log.read_text().splitlines())
    assert first == {
        "position": 0,
        "samples": [0, 1, 2],
        "tokens": [2, 2, 2],
        "surprisal": [0.0] * 3,
        "model_surprisal": pytest.approx([math.log(2)] * 3),
        "entropy": [0.0] * 3,
        "model_entropy": pytest.approx([math.log(2)] * 3),
    }
    assert second == first | {"position": 1}


def test_later_texts_are_appended(log):
    generate()
    generate()
    assert [json.loads(line)["position"] for line in log.read_text().splitlines()] == [0, 1, 0, 1]


@pytest.mark.parametrize("setting", [None, ""])
def test_without_the_setting_nothing_is_written(log, monkeypatch, setting):
    if setting is None:
        monkeypatch.delenv("CORELM_STEP_LOG")
    else:
        monkeypatch.setenv("CORELM_STEP_LOG", setting)
    generate()
    assert not log.exists()


def test_a_log_that_cannot_be_written_does_not_stop_the_text(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CORELM_STEP_LOG", str(tmp_path / "missing" / "steps.jsonl"))
    corelm.registry.registry.registry.cache_clear()
    with caplog.at_level(logging.WARNING, "corelm"):
        [text] = generate()
    corelm.registry.registry.registry.cache_clear()
    assert text.text == " heads heads"
    [warning] = [record.message for record in caplog.records]
    assert warning.startswith(
        "plugin corelm-step-log:corelm_next_token was left out: at step 0: FileNotFoundError"
    )
