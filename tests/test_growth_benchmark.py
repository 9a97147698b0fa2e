"""The benchmark of growth, but for its clock: on a small network."""

from __future__ import annotations

import pytest
from benchmark_scripts import script
from small_models import SMALL, small_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def growth():
    """The script as a module."""
    return script("growth")


def test_everything_is_measured_at_every_size(growth, monkeypatch):
    """Every call takes as many milliseconds as there are calls before it, and one."""

    def counted(calls, rounds):
        for call in calls:
            call()
        return [0.001 * (i + 1) for i in range(len(calls))]

    monkeypatch.setattr(growth, "fastest", counted)
    monkeypatch.setattr(growth, "PROMPT", "w1 w2")
    words = "--lengths 2 5 --batches 1 4 8 --texts 2 4 --samplers 1 10 --tokens 3"
    options = growth.read_options(words.split())
    found = list(growth.groups(small_model(SMALL["default"], end=True), options))
    assert [list(group.values) for group in found] == [[2, 5], [2, 5], [1, 4, 8], [2, 4], [1, 10]]
    assert list(found[0].values.values()) == pytest.approx([1000, 2000])  # microseconds
    assert list(found[1].values.values()) == pytest.approx([250, 500])  # of each of four texts
    memory = found[2].values
    assert memory[1] < memory[4] < memory[8] < 16 * memory[1]


def test_the_fastest_of_each_call_counts(growth, monkeypatch):
    readings = iter([0, 5, 10, 11, 20, 23, 30, 34])  # 5 and 1, then 3 and 4
    monkeypatch.setattr(growth.time, "perf_counter", lambda: next(readings))
    assert growth.fastest([lambda: None, lambda: None], 2) == [3, 1]


def test_the_table_has_the_ratio_to_the_first_size(growth):
    group = growth.Group("texts", "ms", "linear", {8: 100.0, 16: 210.0})
    lines = growth.table([group]).splitlines()
    assert lines[-2:] == [
        "| texts | 8 | 100 ms | **1.00** | linear |",
        "| texts | 16 | 210 ms | **2.10** | linear |",
    ]
