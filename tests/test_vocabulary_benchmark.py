"""The benchmark of large vocabularies, and the memory of a report that its model bounds."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from benchmark_scripts import BENCHMARKS, script

import corelm
from corelm import native
from corelm.generation.generate import BATCH

pytestmark = pytest.mark.slow

VOCABULARY = 16_000


@pytest.fixture(scope="module")
def vocabulary():
    """The script as a module."""
    return script("vocabulary")


def peak_of_a_report(model, **settings):
    """The bytes that a report allocates at most, as tracemalloc counts them."""
    tracemalloc.start()
    corelm.compare(model, **settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("kernels", ["kernels", "definitions"])
def test_a_report_holds_a_few_batches_of_logits_at_once(vocabulary, kernels, monkeypatch):
    """Longer and more texts add nothing: no distribution of an earlier step is kept."""
    if kernels == "definitions":
        monkeypatch.setattr(native, "kernels", None)
    model = vocabulary.ZipfModel(VOCABULARY)
    corelm.compare(model, n=1, length=1)  # imports and plugins, which stay
    one_batch = BATCH * VOCABULARY * 4
    assert peak_of_a_report(model, n=BATCH, length=2) < 10 * one_batch
    assert peak_of_a_report(model, n=BATCH + 1, length=8) < 10 * one_batch


def test_the_logits_of_the_model_depend_on_the_last_token_alone(vocabulary):
    model = vocabulary.ZipfModel(50)
    session = model.start([[5, 7], [9, 7], [7, 9]])
    logits = session.next_logits()
    assert np.array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])
    session.select([2])
    session.extend(np.array([7]))
    assert np.array_equal(session.next_logits(), logits[:1])


def test_every_task_is_measured(vocabulary, monkeypatch):
    monkeypatch.setattr(vocabulary, "BATCH", 2)
    monkeypatch.setattr(vocabulary, "LENGTH", 3)
    monkeypatch.setitem(
        vocabulary.TASKS, "report", lambda model: corelm.compare(model, n=2, length=2)
    )
    for task in vocabulary.TASKS:
        cost = vocabulary.measure(task, 300)
        assert cost.seconds > 0
        assert 10 < cost.peak < 100_000


def test_the_command_prints_a_row_for_each_task_and_size():
    command = [sys.executable, str(BENCHMARKS / "vocabulary.py")]
    options = ["--tasks", "explain", "--sizes", "300", "1000"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    rows = [line.split(" | ")[:2] for line in done.stdout.splitlines()[-2:]]
    assert rows == [["| explain", "300"], ["| explain", "1,000"]]
