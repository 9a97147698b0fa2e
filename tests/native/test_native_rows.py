"""On rows unlike a language model's, filters keep the tokens of the definition in linear time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from benchmark_scripts import script
from corelm_samplers.tail_free import tail_free
from corelm_samplers.top_h import top_h
from corelm_samplers.top_p import top_p
from corelm_samplers.typical import typical

from corelm import native
from corelm.filters import top_k

ROWS = script("any_row").rows(20_000)
FILTERS = {
    "top_k(1)": lambda row: top_k(row, 1),
    "top_k(50)": lambda row: top_k(row, 50),
    "top_k(10000)": lambda row: top_k(row, 10_000),
    "top_p(0)": lambda row: top_p(row, 0),
    "top_p(0.5)": lambda row: top_p(row, 0.5),
    "top_p(0.9)": lambda row: top_p(row, 0.9),
    "top_h(0.4)": lambda row: top_h(row, 0.4),
    "top_h(0.9)": lambda row: top_h(row, 0.9),
    "typical(0.2)": lambda row: typical(row, 0.2),
    "typical(0.9)": lambda row: typical(row, 0.9),
    "tail_free(0.5)": lambda row: tail_free(row, 0.5),
    "tail_free(0.95)": lambda row: tail_free(row, 0.95),
}


def fastest(call, repeats):
    """The seconds of a processor, which other processes do not lengthen."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("name", FILTERS)
def test_the_tokens_are_those_of_the_definition(name, monkeypatch):
    """But for one where the mass is just reached: exponentials differ in their last bit."""
    # 100 nats below the largest, a token has no weight in a kernel: top_h may keep it or not.
    rows = {key: row for key, row in ROWS.items() if "top_h" not in name or key != "one token"}
    kept = {key: FILTERS[name](row) for key, row in rows.items()}
    monkeypatch.setattr(native, "kernels", None)
    differing = {key: np.sum(kept[key] != FILTERS[name](row)) for key, row in rows.items()}
    most = 0 if "top_k" in name else 2
    assert {key: count for key, count in differing.items() if count > most} == {}


@pytest.mark.parametrize("name", FILTERS)
def test_the_time_is_bounded(name):
    """The bound is generous; without it some rows took a thousandfold."""
    usual = fastest(lambda: FILTERS[name](ROWS["usual"]), 20)
    for row in ROWS.values():
        assert fastest(lambda row=row: FILTERS[name](row), 5) < 60 * usual + 1e-3


def test_top_k_ends_where_many_logits_are_infinite():
    """Such a row is not a distribution, but the public filter takes it."""
    row = np.zeros((1, 700), np.float32)
    row[0, ::10], row[0, 1::10], row[0, 2::10] = np.inf, np.nan, -np.inf
    assert np.flatnonzero(top_k(row, 28) > -np.inf).tolist() == list(range(0, 280, 10))
    assert np.flatnonzero(top_k(row, 70) > -np.inf).tolist() == list(range(0, 700, 10))
