"""The temperature curve: by hand, and its slope on the shipped model."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from corelm_report.measure.contexts import Contexts, groups, model_contexts, read
from corelm_report.measure.on_contexts import (
    COLDEST,
    GRID,
    at_temperatures,
    curve,
    measure,
    temperatures,
)
from hypothesis import given
from hypothesis import strategies as st

import corelm
from corelm import Context, apply_temperature, native, softmax
from corelm.numerics.distributions import entropy_of_logits
from corelm.testing import ToyModel

LN2 = math.log(2)
INF = float("inf")


def test_a_curve_by_hand():
    """Four to one at temperature 1 is two to one at 2 and sixteen to one at 1/2."""
    row = np.array([math.log(4), 0, -INF])
    nats, slope, surprisal, _ = at_temperatures(row[None], [0.5, 1, 2])[0]
    assert nats == pytest.approx(
        [
            math.log(17) - 16 / 17 * math.log(16),
            math.log(5) - 4 / 5 * math.log(4),
            math.log(3) - 2 / 3 * LN2,
        ]
    )
    squares = math.log(4) ** 2  # times q (1 - q), the variance of the logits
    assert slope == pytest.approx([16 / 17**2 * squares * 8, 4 / 25 * squares, 2 / 9 * squares / 8])
    least, most = math.log(5 / 4), math.log(5)  # the surprisals at temperature 1
    assert surprisal == pytest.approx(
        [(16 * least + most) / 17, (4 * least + most) / 5, (2 * least + most) / 3]
    )


def test_the_mean_is_over_all_positions_of_all_texts():
    """One text of three certain positions, and one of a single coin."""
    model = ToyModel(["sure", "coin"], logits=[[0] * 4] * 2 + [[0, 0, 0, -INF], [0] * 4], end=False)
    contexts = Contexts("human", "d", ((2, 2, 2, 2), (3, 3)), (1, 1))
    unit = measure(model, contexts, [], [0.5, 2.0])
    assert unit["curve"]["positions"] == [3, 1]
    assert curve(unit["curve"], [0.5, 2.0]).to_dict() == {
        "t": [0.5, 2.0],
        "entropy": pytest.approx([LN2 / 4] * 2),
        "slope": [0, 0],
        "surprisal": pytest.approx([LN2 / 4] * 2),
    }


def test_every_temperature_that_is_compared_is_on_the_curve():
    samplers = [
        corelm.sampler(expression)
        for expression in (
            "temperature(t=0.33)", "temperature(t=0)", "temperature(t=inf)", "temperature(t=1e300)",
            "temperature(t=1e-9)", "temperature(t=0.77) | top_k(k=3)", "dynamic_temperature",
        )
    ]  # fmt: skip
    assert temperatures(samplers) == sorted([COLDEST, *GRID, 0.33])
    assert temperatures([]) == [COLDEST, *GRID]


@given(
    st.lists(st.floats(-30, 30) | st.just(0.0) | st.just(-INF), min_size=1, max_size=9).filter(
        lambda row: max(row) > -INF
    ),
    st.sampled_from([np.float32, np.float64]),
)
def test_it_rises_from_greedy_to_uniform(row, dtype):
    logits = np.array(row, dtype=dtype)
    nats, slope, surprisal, _ = at_temperatures(logits[None], GRID)[0]
    assert (np.diff(nats) >= -1e-5).all()
    assert (slope >= 0).all()
    assert (np.diff(surprisal) >= -1e-4).all()
    assert surprisal[GRID.index(1.0)] == pytest.approx(nats[GRID.index(1.0)], abs=1e-5)
    assert nats[0] >= -1e-6
    assert nats[-1] <= math.log((logits > -INF).sum()) + 1e-6
    for t, value in zip(GRID, nats, strict=True):
        assert value == pytest.approx(
            float(entropy_of_logits(apply_temperature(logits, t))), abs=1e-5
        )


@pytest.mark.skipif(native.kernels is None, reason="no kernels on this machine")
@given(
    st.lists(
        st.floats(-30, 30, width=32) | st.sampled_from([0.0, -INF, 1e30, -1e30]),
        min_size=1,
        max_size=9,
    ).filter(lambda row: max(row) > -INF),
    st.integers(1, 40),
)
def test_the_kernel_agrees_with_the_definition(row, times):
    logits = np.tile(np.array([row, row[::-1]], np.float32), times)
    quick = at_temperatures(logits, GRID)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels", None)
        assert quick == pytest.approx(at_temperatures(logits, GRID), rel=1e-5, abs=1e-4)


# On the shipped model


@cache
def contexts():
    return model_contexts(corelm.load("imdb"), ["This movie"], n=4, length=25, seed=1)


@cache
def rows():
    """The model's logits at every position of four texts."""
    model = corelm.load("imdb")
    [group] = groups(model, contexts())
    return np.concatenate([position.logits for position in read(model, group)])


def means(grid):
    return at_temperatures(rows(), grid).mean(axis=0)


def test_the_mean_entropy_never_falls():
    nats, slope, surprisal, _ = means(GRID)
    assert (np.diff(surprisal) > 0).all()
    assert (np.diff(nats) > 0).all()
    assert (slope > 0).all()
    assert nats[0] > 0
    assert nats[-1] < math.log(14998)


@pytest.mark.parametrize("t", [0.2, 0.5, 0.7, 1.0, 1.5, 3.0])
def test_its_slope_is_the_variance_of_the_logits_over_t_cubed(t):
    """The variance computed again in float64, and the derivative as a difference."""
    logits = rows().astype(np.float64)
    q = softmax(logits / t)
    centred = np.where(q > 0, logits - logits.max(axis=-1, keepdims=True), 0)
    variance = (q * centred**2).sum(axis=-1) - (q * centred).sum(axis=-1) ** 2
    h = 0.01 * t
    (below, _, above), slope, surprisal, rise = means([t - h, t, t + h])
    assert rise[1] == pytest.approx(t * slope[1])
    assert (surprisal[2] - surprisal[0]) / (2 * h) == pytest.approx(rise[1], rel=0.01)
    assert slope[1] == pytest.approx(variance.mean() / t**3, abs=1e-3)
    assert slope[1] == pytest.approx((above - below) / (2 * h), abs=1e-3)


def test_it_is_the_entropy_of_the_temperature_sampler():
    nowhere = Context.of(np.zeros((len(rows()), 1), dtype=np.int64))
    for t in (0.2, 0.9, 2.5):
        changed = corelm.sampler("temperature", t=t)(rows(), nowhere)
        assert means([t])[0, 0] == pytest.approx(entropy_of_logits(changed).mean(), abs=1e-5)
