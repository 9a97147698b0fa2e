"""On rows unlike a language model's, filters keep the tokens of the definition in linear time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from corelm_samplers.dynamic_temperature import dynamic_temperature
from corelm_samplers.edt import edt
from corelm_samplers.eta import eta
from corelm_samplers.frequency_penalty import subtract_counts
from corelm_samplers.tail_free import tail_free
from corelm_samplers.top_h import top_h
from corelm_samplers.top_p import top_p
from corelm_samplers.typical import typical
from native_helpers import by_definition, random_rows

from corelm import log_softmax
from corelm.filters import top_k


def unlike_rows(vocabulary):
    """Return rows of logits by name; the first is like a language model's."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(vocabulary)
    usual = rng.normal(0, 0.1, vocabulary) - 1.4 * np.log(rng.permutation(vocabulary) + 1)
    two_valued = rng.integers(0, 2, vocabulary)
    made = {
        "usual": usual,
        "normal": normal,
        "normal * 4": 4 * normal,
        "flat": np.zeros(vocabulary),
        "flat, one less": np.where(np.arange(vocabulary) == 7, -1e-3, 0.0),
        "normal / 1e4": normal / 1e4,
        "normal / 1e6": normal / 1e6,
        "subnormal": normal * 1e-40,
        "linspace": np.linspace(0, 1e-4, vocabulary),
        "rising": np.sort(4 * normal),
        "falling": -np.sort(-4 * normal),
        "ten values": rng.integers(0, 10, vocabulary),
        "two values": two_valued,
        "two values, far": two_valued * 40.0,
        "one token": np.where(np.arange(vocabulary) == 7, 100.0, 0.0),
        "one and flat": np.where(np.arange(vocabulary) == 7, 12.0, normal / 1e4),
        "half masked": np.where(two_valued, 4 * normal, -np.inf),
        "1e38": 1e38 * np.clip(normal, -3, 3),
        "3e38, flat": np.full(vocabulary, 3e38),
        "powers": np.ldexp(-1.0, rng.integers(-140, 7, vocabulary)),
        "uniform in 87 nats": -87 * rng.random(vocabulary),
    }
    return {name: row.astype(np.float32)[None] for name, row in made.items()}


ROWS = unlike_rows(20_000)
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
def test_the_tokens_are_those_of_the_definition(name):
    """But for one where the mass is just reached: exponentials differ in their last bit."""
    # 100 nats below the largest, a token has no weight in a kernel: top_h may keep it or not.
    rows = {key: row for key, row in ROWS.items() if "top_h" not in name or key != "one token"}
    kept = {key: FILTERS[name](row) for key, row in rows.items()}
    differing = {
        key: np.sum(kept[key] != by_definition(FILTERS[name], row)) for key, row in rows.items()
    }
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


@pytest.mark.parametrize("z", [0.0, 0.5, 0.95, 0.999, 0.999999, 1 - 1e-12])
@pytest.mark.parametrize("exponent", [0.5, 1.4, 4.0, 30.0])
def test_a_tail_is_found_however_deep_it_begins(z, exponent):
    """The likeliest tokens alone are sorted, unless the cut depends on the others."""
    rng = np.random.default_rng(int(exponent))
    ranks = rng.permuted(np.tile(np.arange(1.0, 3001), (8, 1)), axis=1)
    spread = np.array([[0, 0, 1e-3, 1e-3, 0.1, 0.1, 1, 1]]).T
    logits = (rng.normal(0, 1, ranks.shape) * spread - exponent * np.log(ranks)).astype(np.float32)
    logits[1::2, ::3] = -np.inf
    np.testing.assert_array_equal(tail_free(logits, z), by_definition(tail_free, logits, z))


@pytest.mark.parametrize("each", [0.7, -2.0, 1e308])
def test_counts_are_subtracted(each):
    logits, rng = random_rows(3, 40), np.random.default_rng(5)
    logits[:, 7] = -np.inf
    for count in (0, 1, 60):
        ids = rng.integers(-1, 41, 3 * count)
        result = subtract_counts(logits, ids, count, each)
        expected = by_definition(subtract_counts, logits, ids, count, each)
        np.testing.assert_array_equal(result, expected, strict=True)
        assert np.array_equal(result, subtract_counts(logits, ids.astype(np.int32), count, each))


BY_ENTROPY = {
    "eta": lambda logits: eta(logits, 3.0),
    "edt": lambda logits: edt(logits, 1.5, 0.5, 0.8),
    "edt, whose power overflows": lambda logits: edt(logits, 1.5, 1e300, 1e-300),
    "dynamic_temperature": lambda logits: dynamic_temperature(logits, 0.5, 1.5, 1.0),
    "dynamic_temperature^0.7": lambda logits: dynamic_temperature(logits, 0.5, 1.5, 0.7),
    "dynamic_temperature^0": lambda logits: dynamic_temperature(logits, 0.5, 1.5, 0.0),
    "log_softmax": log_softmax,
}


@pytest.mark.parametrize("name", BY_ENTROPY)
@pytest.mark.parametrize("size", [1, 16, 130])
def test_what_depends_on_the_entropy_is_its_definition(name, size):
    logits = random_rows(5, size)
    logits[1, 1:], logits[2, 1::2], logits[3] = -np.inf, -np.inf, 0.0
    logits[4] -= 90 * np.arange(size, dtype=np.float32)  # all but certain
    result = BY_ENTROPY[name](logits)
    expected = by_definition(BY_ENTROPY[name], logits)
    np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("invalid", [np.nan, np.inf, -np.inf])
def test_the_log_softmax_of_no_distribution_is_nan(invalid):
    logits = random_rows(2, 300)
    logits[0, 170 if invalid != -np.inf else slice(None)] = invalid
    assert np.isnan(log_softmax(logits)).all(axis=1).tolist() == [True, False]
