"""The arithmetic, with the numbers written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import corelm
from corelm import (
    ParameterError,
    apply_temperature,
    draw,
    entropy,
    log_softmax,
    mask_logits,
    reweight_distribution,
    softmax,
)
from corelm.filters import min_and_shannon_entropy, min_entropy

INF = float("inf")
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def entropy_of_logits(logits):
    return min_and_shannon_entropy(np.atleast_2d(logits))[1]


def eps(dtype):
    return float(20 * np.finfo(dtype).eps)


# softmax, log_softmax


@BOTH
def test_softmax_of_logarithms_is_the_probabilities(dtype):
    logits = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])).astype(dtype)
    p = softmax(logits + dtype(3))
    assert p.dtype == dtype
    assert p == pytest.approx(np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]), rel=eps(dtype))


@BOTH
def test_softmax_of_logits_whose_exponential_overflows(dtype):
    assert softmax(np.array([1e30, 1e30, 0, -1e30, -INF], dtype)).tolist() == [0.5, 0.5, 0, 0, 0]
    assert softmax(np.array([-1e30, -1e30], dtype)).tolist() == [0.5, 0.5]
    largest = np.finfo(dtype).max
    assert softmax(np.array([largest, -largest], dtype)).tolist() == [1, 0]


@BOTH
def test_log_softmax(dtype):
    values = log_softmax(np.array([[0.0, 0.0, -INF], [math.log(3), 0.0, -INF]], dtype))
    assert values.dtype == dtype
    assert values[0].tolist() == pytest.approx([-math.log(2), -math.log(2), -INF], rel=eps(dtype))
    assert values[1].tolist() == pytest.approx(
        [math.log(0.75), math.log(0.25), -INF], rel=eps(dtype)
    )


def test_log_softmax_keeps_what_softmax_rounds_to_zero():
    assert log_softmax(np.array([0.0, -2000.0]))[1] == -2000.0
    assert softmax(np.array([0.0, -2000.0]))[1] == 0.0


# entropy


@pytest.mark.parametrize(
    ("probabilities", "nats"),
    [
        ([1.0, 0.0], 0.0),
        ([0.5, 0.5], math.log(2)),
        ([0.25, 0.75], 0.25 * math.log(4) + 0.75 * math.log(4 / 3)),
        ([0.5, 0.25, 0.125, 0.125], 1.75 * math.log(2)),
        ([1 / 3, 1 / 3, 1 / 3, 0], math.log(3)),
        ([1.0], 0.0),
        ([1, 0], 0.0),
    ],
)
def test_entropy(probabilities, nats):
    assert float(entropy(probabilities)) == pytest.approx(nats, abs=1e-15)
    with np.errstate(divide="ignore"):
        logits = np.log(np.array(probabilities, dtype=float))
    assert entropy_of_logits(logits)[0] == pytest.approx(nats, abs=1e-15)


def test_entropy_of_rows():
    assert entropy([[1.0, 0.0], [0.5, 0.5]]).tolist() == pytest.approx([0, math.log(2)])
    assert entropy(np.full((2, 3, 4), 0.25)).shape == (2, 3)


def test_the_entropy_of_certainty_is_zero_and_not_minus_zero():
    assert math.copysign(1, float(entropy([1.0, 0.0]))) == 1


@BOTH
def test_uniform_entropy_is_ln_n(dtype):
    for n in (1, 2, 3, 1000, 15_000):
        assert entropy_of_logits(np.zeros(n, dtype))[0] == pytest.approx(math.log(n), abs=1e-12)


@BOTH
def test_the_entropy_of_logits_with_removed_tokens(dtype):
    logits = np.array([[0.0, -INF, 0.0, -1e30]], dtype)
    assert entropy_of_logits(logits)[0] == pytest.approx(math.log(2), abs=1e-12)


LOGITS = st.lists(
    st.one_of(
        st.floats(-50, 50),
        st.sampled_from([0.0, 1.0, -INF, 1e30, -1e30, 5e-324, -5e-324, 1e4]),
    ),
    min_size=1,
    max_size=12,
).filter(lambda row: max(row) > -INF)


@given(LOGITS, st.sampled_from([np.float32, np.float64]))
def test_both_entropies_agree_and_stay_in_their_bounds(row, dtype):
    logits = np.array([row], dtype)
    nats = float(entropy_of_logits(logits)[0])
    assert nats == pytest.approx(float(entropy(softmax(logits))[0]), abs=1e-5)
    assert 0 <= nats <= math.log(len(row)) + 1e-6


@given(LOGITS, st.sampled_from([np.float32, np.float64]))
def test_softmax_is_a_distribution_that_keeps_the_order(row, dtype):
    p = softmax(np.array([row], dtype))
    assert p.dtype == dtype
    assert p.sum() == pytest.approx(1, abs=1e-5)
    order = np.argsort(np.array(row, dtype), kind="stable")
    assert (np.diff(p[0, order]) >= 0).all()
    assert (p[0, np.array(row) == -INF] == 0).all()


@BOTH
def test_the_entropies_of_each_row(dtype):
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [0.5, 0.5, 1e-9]])) + 3
    least, usual = min_and_shannon_entropy(logits.astype(dtype))
    ln2 = math.log(2)
    middle = 0.5 * ln2 + 0.375 * math.log(8 / 3) + 0.125 * math.log(8)
    assert least.tolist() == pytest.approx([ln2, ln2, ln2], abs=1e-6)
    assert usual.tolist() == pytest.approx([1.5 * ln2, middle, ln2], abs=1e-6)
    assert min_entropy(logits.astype(dtype)).tolist() == least.tolist()
    assert (least.dtype, usual.dtype) == (np.float64, np.float64)


def test_the_entropy_of_float32_is_summed_in_64_bits():
    assert entropy(np.full((2, 4), 0.25, np.float32)).dtype == np.float64


@pytest.mark.parametrize("numbers", [[1, 3], np.array([1, 3]), np.array([1, 3], np.int32)])
def test_whole_numbers_are_taken_for_floats(numbers):
    assert reweight_distribution(numbers, 1).tolist() == [0.25, 0.75]
    assert reweight_distribution(numbers, 1).dtype == np.float64


def test_floats_keep_their_type():
    assert reweight_distribution(np.array([1, 3], np.float32), 1).dtype == np.float32


# surprisals, keep


def test_surprisals_are_those_of_the_distribution():
    logits = np.log([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5]])
    nats = corelm.surprisals(logits + 1000, np.array([1, 0]))
    assert nats.tolist() == pytest.approx([math.log(4), math.log(8)])
    assert nats.dtype == np.float64


def test_the_surprisal_of_certainty_is_zero_and_of_the_impossible_infinite():
    logits = np.array([[-np.inf, 7.0], [-np.inf, 7.0]], np.float32)
    assert corelm.surprisals(logits, np.array([1, 0])).tolist() == [0.0, np.inf]


@BOTH
def test_keep(dtype):
    kept = mask_logits(np.array([[1.0, 2.0, 3.0]], dtype), np.array([[True, False, True]]))
    assert kept.tolist() == [[1.0, -INF, 3.0]]
    assert kept.dtype == dtype


# apply_temperature


@BOTH
def test_only_a_row_whose_quotient_would_overflow_is_shifted(dtype):
    largest = float(np.finfo(dtype).max)
    rows = np.array([[largest, 1.0, -INF], [-largest, -largest, -INF], [4.0, -2.0, -INF]], dtype)
    quotient = apply_temperature(rows, 0.5)
    assert quotient.tolist() == [[0.0, -INF, -INF], [0.0, 0.0, -INF], [8.0, -4.0, -INF]]


def test_a_repetition_penalty_after_a_temperature_sees_the_signs():
    # as transformers has it: 4 / 2 is above 0 and is halved, -2 / 2 is below 0 and is doubled
    chain = corelm.sampler("temperature(t=2) | repetition_penalty(penalty=2)")
    logits = np.array([[4.0, -2.0, 3.0]], np.float32)
    assert chain(logits, corelm.Context.of([[0, 1]])).tolist() == [[1.0, -2.0, 1.5]]


@BOTH
@pytest.mark.parametrize("t", [1e-300, 5e-324, 1e-35, 1e-30, 1e-20, 0.0])
def test_next_to_zero_only_the_likeliest_is_left(dtype, t):
    p = softmax(apply_temperature(np.array([[1.0, 3.0, 2.0, -INF], [1e30, -1e30, 0, 1]], dtype), t))
    assert p.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


@BOTH
@pytest.mark.parametrize("t", [1e300, 1.7e308, 1e30, 1e35, INF])
def test_near_infinity_all_that_is_in_play_is_equal(dtype, t):
    p = softmax(apply_temperature(np.array([[1.0, 3.0, -INF, 2.0]], dtype), t))
    assert p[0].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], rel=1e-6)


def test_between_ties_zero_and_next_to_zero_differ():
    tied = np.array([[2.0, 2.0, 1.0]])
    assert softmax(apply_temperature(tied, 0)).tolist() == [[1, 0, 0]]
    assert softmax(apply_temperature(tied, 1e-300)).tolist() == [[0.5, 0.5, 0]]


def test_one_changes_nothing_at_all():
    logits = np.array([[0.1, 1e30, -INF]])
    assert apply_temperature(logits, 1) is logits


# draw


@BOTH
def test_a_number_on_the_border_draws_the_next_token(dtype):
    assert draw(np.zeros((2, 2), dtype), np.array([0.5, 0.25]))[0].tolist() == [1, 0]


@BOTH
def test_draw_returns_the_surprisals_of_its_tokens(dtype):
    logits = np.log(np.array([[0.25, 0.75], [0.25, 0.75]], dtype=dtype))
    tokens, surprisal = draw(logits, np.array([0.1, 0.9]))
    assert tokens.tolist() == [0, 1]
    assert surprisal.tolist() == pytest.approx([math.log(4), math.log(4 / 3)], rel=1e-6)
    assert (tokens.dtype, surprisal.dtype) == (np.int64, np.float64)


def test_no_rows_no_tokens():
    tokens, surprisal = draw(np.empty((0, 5)), np.empty(0))
    assert (tokens.shape, surprisal.shape) == ((0,), (0,))


# reweight_distribution


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (0.5, [0.2**2 / 0.68, 0.8**2 / 0.68]),
        (2, [0.2**0.5 / (0.2**0.5 + 0.8**0.5), 0.8**0.5 / (0.2**0.5 + 0.8**0.5)]),
        (1, [0.2, 0.8]),
        (0, [0, 1]),
        (INF, [0.5, 0.5]),
        (1e-300, [0, 1]),
        (1e300, [0.5, 0.5]),
    ],
)
def test_reweight_distribution(temperature, expected):
    assert reweight_distribution([0.2, 0.8], temperature).tolist() == pytest.approx(expected)


def test_reweight_has_the_temperature_of_the_book():
    assert reweight_distribution([0.2, 0.8]).tolist() == pytest.approx([1 / 17, 16 / 17])
    assert reweight_distribution([5.0]).tolist() == [1.0]


def test_reweight_normalises_and_takes_rows():
    reweighted = reweight_distribution([[1, 4], [3, 3]], temperature=1)
    assert reweighted.tolist() == [pytest.approx([0.2, 0.8]), [0.5, 0.5]]


def test_reweight_leaves_a_zero_at_zero_where_the_book_gives_nan():
    assert reweight_distribution([0.0, 0.5, 0.5], 0.5).tolist() == [0, 0.5, 0.5]


@pytest.mark.parametrize("temperature", [-1, float("nan"), -INF])
def test_reweight_refuses_a_temperature_below_zero(temperature):
    with pytest.raises(ParameterError, match=f"temperature must be at least 0, not {temperature}"):
        reweight_distribution([0.5, 0.5], temperature)


@pytest.mark.parametrize(
    ("p", "needs"),
    [
        *((p, "holds finite numbers that are at least 0")
          for p in ([-0.1, 1.1], [float("nan"), 1], [INF, 1], [], 1.0)),
        *((p, "needs at least one number above 0 in each row")
          for p in ([0.0, 0.0], [[0.0, 0.0], [0.5, 0.5]])),
    ],
)  # fmt: skip
def test_reweight_refuses_invalid_distributions(p, needs):
    with pytest.raises(ParameterError, match=f"^a distribution {needs}$"):
        reweight_distribution(p)
