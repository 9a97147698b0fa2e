"""On rows unlike a language model's, filters keep the tokens of the definition in linear time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from corelm_samplers.dynamic_temperature import dynamic_temperature
from corelm_samplers.edt import edt
from corelm_samplers.eta import eta
from corelm_samplers.frequency_penalty import subtract_counts
from corelm_samplers.quadratic import quadratic
from corelm_samplers.tail_free import tail_free
from corelm_samplers.top_h import top_h
from corelm_samplers.top_n_sigma import logit_std
from corelm_samplers.top_p import top_p
from corelm_samplers.typical import typical
from corelm_samplers.xtc import xtc
from hypothesis import example, given
from hypothesis import strategies as st
from native_helpers import by_definition, random_rows

from corelm import log_softmax, softmax
from corelm.filters import top_k, within_nats


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


def shapes() -> Iterator[np.ndarray]:
    """Yield batches in float32: normal, tied, flat, nearly flat, huge, deep, mostly impossible."""
    rng = np.random.default_rng(5)
    for size in (1, 2, 7, 127, 128, 129, 300, 2000):
        shape = (3, size)
        normal = rng.normal(0, 3, shape)
        holes = np.where(rng.random(shape) < 0.7, -np.inf, normal)
        holes[:, 0] = 0
        huge = np.clip(rng.normal(0, 1e38, shape), -3e38, 3e38)
        flat, nearly_flat = np.zeros(shape), rng.normal(0, 1e-4, shape)
        tied, deep = rng.integers(0, 3, shape), rng.normal(0, 100, shape)
        for logits in (normal, tied, flat, nearly_flat, huge, deep, holes):
            yield logits.astype(np.float32)


@pytest.mark.parametrize(
    ("function", "arguments", "tolerance"),
    [
        *((top_h, (h,), 0) for h in (0.0, 0.1, 0.4, 0.9, 1.0)),
        *((within_nats, (nats,), 0) for nats in (-1.0, 0.0, 0.5, 3.0, 1e9, np.inf)),
        (within_nats, (np.array([-1.0, 0.5, 3.0]),), 0),
        (logit_std, (), 1e-12),
        (softmax, (), 2e-5),
        *(
            (quadratic, each, 1e-5)
            for each in product((0.3, 2.0, 1e-35, 1e32), (1.0, 2.0, 3.0, 7.0))
        ),
        *((xtc, each, 1e-4) for each in product((0.0, 0.5, 1.0), (0.0, 0.05, 0.3), ((), (0, 1)))),
    ],
)
def test_rows_of_every_shape_have_the_results_of_the_definition(function, arguments, tolerance):
    for logits in shapes():
        with np.errstate(all="ignore"):
            result = function(logits, *arguments)
            expected = by_definition(function, logits, *arguments)
        if function is xtc:
            result, expected = softmax(result.astype(float)), softmax(expected.astype(float))
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance / 100)


@pytest.mark.parametrize("row", [[np.nan, 1.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_softmax_of_no_distribution_is_nan(row):
    logits = np.array([row], dtype=np.float32)
    assert np.isnan(softmax(logits)).all()
    with np.errstate(all="ignore"):
        assert np.isnan(by_definition(softmax, logits)).any()


EDGES = st.lists(
    st.floats(-30, 30, width=32) | st.sampled_from([0.0, 0.0, 1.0, -np.inf, -np.inf, 1e30, -1e30]),
    min_size=1,
    max_size=12,
).filter(lambda row: max(row) > -np.inf)


@pytest.mark.parametrize("filter_", [top_p, typical])
@given(row=EDGES, share=st.sampled_from([1e-9, 0.1, 0.5, 0.9, 0.999]), times=st.integers(1, 40))
@example(row=[3e38, -3e38, 0.0], share=0.5, times=1)
def test_a_share_of_any_row(filter_, row, share, times):
    """If a sum meets the share to the last bits, the exponentials decide about one token."""
    logits = np.tile(np.array([row], np.float32), times)
    result, expected = filter_(logits, share), by_definition(filter_, logits, share)
    assert abs(int((result > -np.inf).sum()) - int((expected > -np.inf).sum())) <= 1
    assert ((result == logits) | (result == -np.inf)).all()


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
