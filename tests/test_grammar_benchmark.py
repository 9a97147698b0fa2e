"""The benchmark of constraints: it times steps, and validates the texts that are complete."""

from __future__ import annotations

import pytest
from benchmark_scripts import script

import corelm

pytestmark = pytest.mark.slow

pytest.importorskip("corelm_grammar", reason="pip install ./plugins/corelm-grammar")


def test_the_benchmark_times_steps_and_validates_complete_texts():
    benchmark = script("grammar")
    sampler, is_valid = benchmark.constraints()["json_schema, either"]
    vocabulary = benchmark.MadeUp(corelm.load("gpt2").vocabulary, 3000)
    assert len(vocabulary) == 3000
    cost = benchmark.step_times(sampler, vocabulary, steps=20)
    assert 0 < cost.median <= cost.largest
    found = benchmark.check(sampler, is_valid, texts=5)
    assert (found.complete, found.valid) == (5, 5)
    assert not is_valid("[1]")
