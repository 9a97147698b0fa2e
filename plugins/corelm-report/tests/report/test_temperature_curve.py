"""The temperature curve: by hand and against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from documents import compare
from hypothesis import given
from hypothesis import strategies as st

from corelm import softmax
from corelm.testing import ToyModel
from corelm_report.measure.on_contexts import at_temperatures, curve

LN2, INF = math.log(2), float("inf")
GRID = [0.01, *(round(0.1 * i, 1) for i in range(1, 21)), 2.5, 3.0, 4.0, 6.0, 10.0]
CLOSE = {"rel": 1e-6, "abs": 1e-6}


def curve_of(model, *texts, samplers=("greedy",), **asked):
    made = compare(samplers, model=model, prompts="a", n=1, length=30, reference=texts, **asked)
    columns = made["curve"]
    return columns["t"], {name: np.array(columns[name]) for name in columns if name != "t"}


def test_a_curve_by_hand():
    """Four to one at temperature 1 is two to one at 2 and sixteen to one at 1/2."""
    model = ToyModel(["a", "b"], logits=[9, 9, math.log(4), 0], end=False)
    t, of = curve_of(model, "a b")
    at = [t.index(each) for each in (0.5, 1.0, 2.0)]
    assert of["entropy"][at] == pytest.approx(
        [
            math.log(17) - 16 / 17 * math.log(16),
            math.log(5) - 4 / 5 * math.log(4),
            math.log(3) - 2 / 3 * LN2,
        ]
    )
    squares = math.log(4) ** 2  # times q (1 - q), the variance of the logits
    slopes = [16 / 17**2 * squares * 8, 4 / 25 * squares, 2 / 9 * squares / 8]
    assert of["slope"][at] == pytest.approx(slopes)
    least, most = math.log(5 / 4), math.log(5)  # the surprisals at temperature 1
    assert of["surprisal"][at] == pytest.approx(
        [(16 * least + most) / 17, (4 * least + most) / 5, (2 * least + most) / 3]
    )


def test_the_mean_is_over_all_positions_of_all_texts():
    """One text of three certain positions, and one of a single coin."""
    logits = [[0] * 4] * 2 + [[0, 0, 0, -INF], [0] * 4]
    model = ToyModel(["sure", "coin"], logits=logits, end=False)
    _, of = curve_of(model, "sure sure sure sure", "coin coin")
    assert of["entropy"] == pytest.approx(LN2 / 4)
    assert of["surprisal"] == pytest.approx(LN2 / 4)
    assert not of["slope"].any()


def test_every_temperature_that_is_compared_is_on_the_curve():
    samplers = (
        "temperature(t=0.33)", "temperature(t=0)", "temperature(t=inf)", "temperature(t=1e300)",
        "temperature(t=1e-9)", "temperature(t=0.77) | top_k(k=3)", "dynamic_temperature",
    )  # fmt: skip
    assert curve_of(ToyModel(), "the cat", samplers=samplers)[0] == sorted([*GRID, 0.33])
    assert curve_of(ToyModel(), "the cat")[0] == GRID


# The definition


@pytest.mark.parametrize("dtype", [np.float32, np.float64])  # by the kernel, and by NumPy
@given(
    st.lists(
        st.floats(-30, 30, width=32) | st.sampled_from([0.0, -INF, 1e30, -1e30]),
        min_size=1,
        max_size=9,
    ).filter(lambda row: max(row) > -INF),
    st.integers(1, 40),
)
def test_each_temperature_is_that_of_the_definition(dtype, row, times):
    logits = np.tile(np.array([row, row[::-1]], dtype), (times, 1))
    found = at_temperatures(logits, GRID)
    np.testing.assert_allclose(found, found[:1].repeat(2 * times, 0), rtol=1e-4, atol=1e-4)
    shifted = (np.array(row) - max(row))[None]
    q, log_p = softmax(shifted / np.array(GRID)[:, None]), shifted - np.log(np.exp(shifted).sum())
    entropy = -(q * np.log(np.where(q > 0, q, 1))).sum(axis=1)
    nats, slope, surprisal, _ = found[0]
    np.testing.assert_allclose(nats, entropy, atol=1e-4)
    expected = -(q * np.where(q > 0, log_p, 0)).sum(axis=1)
    np.testing.assert_allclose(surprisal, expected, rtol=1e-4, atol=1e-4)
    assert (np.diff(nats) >= -1e-5).all()
    assert (slope >= 0).all()


@pytest.mark.parametrize(
    "row",
    [
        [0.0, 1.0, -1.0, 0.5],
        [3.0, 1.0, -1.0, 5.0],  # an end is likeliest
        [-INF, 1.0, -1.0, 0.5],
        [900.0, 1.0, -1.0, 0.5],  # the words have no weight next to it
        [0.0, 1.0, -INF, -INF],
    ],
)
@pytest.mark.parametrize("ends", [[0], [0, 3]])
def test_the_curve_is_of_tokens_that_are_no_end(row, ends):
    row = np.array(row)
    logits, largest = row[None], row.max()
    t, step = np.array(GRID), 1e-5
    entropy, slope, surprisal, rise = at_temperatures(logits, t, ends)[0]
    whole = at_temperatures(logits, t)[0]
    assert entropy == pytest.approx(whole[0], **CLOSE)
    assert slope == pytest.approx(whole[1], **CLOSE)
    words = logits.copy()
    words[:, ends] = -INF
    log_p = row - largest - np.log(np.exp(row - largest).sum())
    q = softmax(words / t[:, None])
    expected = -(q * np.where(q > 0, log_p, 0)).sum(axis=1)
    assert surprisal == pytest.approx(expected, **CLOSE)
    up, down = (at_temperatures(logits, t + by, ends)[0, 2] for by in (step, -step))
    assert rise == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-3)


def test_a_position_where_only_an_end_is_possible_has_no_surprisal():
    logits = np.array([[0.0, -INF, -INF], [0.0, 0.0, -INF]])
    entropy, slope, surprisal, rise = np.moveaxis(at_temperatures(logits, [1.0], [0]), 1, 0)
    assert entropy.ravel() == pytest.approx([0, np.log(2)])
    assert slope.ravel() == pytest.approx([0, 0], abs=1e-12)
    assert surprisal.ravel() == pytest.approx([np.nan, np.log(2)], nan_ok=True)
    assert rise[1] == 0
    record = {
        "positions": [1, 1], "positions_without_end": [0, 1],
        "entropy": [[0.0], [1.0]], "slope": [[0.0], [1.0]], "surprisal": [[0.0], [3.0]],
    }  # fmt: skip
    assert (curve(record, [1.0]).entropy, curve(record, [1.0]).surprisal) == ([0.5], [3.0])
