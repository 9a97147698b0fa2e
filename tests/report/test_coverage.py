"""The intervals of a report hold the truth: a small sample of `tests/long/coverage.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "long" / "coverage.py"


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("coverage_simulation", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("prompts", "texts"), [(1, 32), (4, 12)])
def test_intervals_hold_the_truth(simulation, prompts, texts):
    """Of 40 intervals with a coverage of 95 %, fewer than 33 hold the truth once in 1,500 times."""
    study = simulation.Study(texts=texts, prompts=prompts, length=12)
    found = simulation.coverage(study.run(seed) for seed in range(40))
    for name in ("surprisal", "distinct_2", "difference of surprisal"):
        assert found[name].studies == 40
        assert found[name].share >= 33 / 40, name


def test_the_share_that_holds_the_truth(simulation):
    figure = simulation.Figure
    studies = [{"a": figure(0.0, [-1, 1])}, {"a": figure(3.0, [2, 4])}, {"a": figure(0.0, None)}]
    [found] = simulation.coverage(studies).values()
    assert (found.truth, found.share, found.below, found.above) == (1.0, 0.5, 0.5, 0.0)
    assert found.studies == 2
