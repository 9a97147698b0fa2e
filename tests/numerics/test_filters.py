"""Filters: kernels and definitions keep the same tokens and refuse the same arguments."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_kernels import needs_kernels, no_kernels
from corelm_samplers.top_n_sigma import logit_std

from corelm import apply_temperature, draw, softmax, surprisals
from corelm.errors import UsageError
from corelm.filters import compiled, top_k, within_nats

INF = float("inf")


def both(work):
    """Return the result of the kernel and that of the definition."""
    quick = work()
    with no_kernels():
        return quick, work()


# Arguments at the ends of their range


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("call", "kept"),
    [
        (lambda rows: within_nats(rows, 0.0), [[0], [3]]),
        (lambda rows: within_nats(rows, 0.7), [[0, 1], [2, 3]]),
        (lambda rows: within_nats(rows, np.array([0.7, 2.0])), [[0, 1], [0, 1, 2, 3]]),
        (lambda rows: within_nats(rows, np.array([-1.0, 0.0])), [[0], [3]]),
    ],
)
def test_the_tokens_that_stay(call, kept, dtype):
    # entropy 1.75 ln 2 = 1.21; of the two likeliest alone 0.64; surprisals ln 2, ln 4, ln 8, ln 8
    rows = np.log(np.array([[0.5, 0.25, 0.125, 0.125], [0.125, 0.125, 0.25, 0.5]])).astype(dtype)
    result = call(rows)
    assert [np.flatnonzero(row > -INF).tolist() for row in result] == kept
    assert ((result == rows) | (result == -INF)).all()
    assert result.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_deviation_of_the_logits_in_play(dtype):
    rows = np.array([[4, 3, 2, 1, -INF], [7, -INF, 7, -INF, -INF], [1e30, -1e30, 0, 0, 0]], dtype)
    expected = [np.sqrt(1.25), 0, np.sqrt(0.4) * 1e30]
    assert logit_std(rows).tolist() == pytest.approx(expected, rel=1e-6)


# Arguments outside their range


ROWS_OF_4 = np.zeros((2, 4), np.float32)
NAN = float("nan")


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rows: top_k(rows, 0), "k must be at least 1 and at most 4, the vocabulary, not 0"),
        (lambda rows: top_k(rows, 5), "k must be at least 1 and at most 4, the vocabulary, not 5"),
        (lambda rows: within_nats(rows, NAN), "nats must be a number, not nan"),
        (
            lambda rows: within_nats(rows, [1.0, 2.0, 3.0]),
            "nats must be a number, or one for each of 2 rows, not an array of the shape (3,)",
        ),
        (lambda rows: apply_temperature(rows, -1), "t must be at least 0, not -1.0"),
        (lambda rows: apply_temperature(rows, -1e-300), "t must be at least 0, not -1e-300"),
        (lambda rows: apply_temperature(rows, -INF), "t must be at least 0, not -inf"),
        (lambda rows: apply_temperature(rows, NAN), "t must be at least 0, not nan"),
        (
            lambda rows: surprisals(rows, np.array([0, -1])),
            "there is no token -1; the ids go from 0 to 3",
        ),
        (
            lambda rows: surprisals(rows, np.array([4, 0])),
            "there is no token 4; the ids go from 0 to 3",
        ),
        (
            lambda rows: surprisals(rows, np.array([1])),
            "expected a token for each of 2 rows, not 1 of them",
        ),
        (
            lambda rows: draw(rows, np.array([0.5, 0.5, 0.5])),
            "expected a uniform number for each of 2 rows, not 3 of them",
        ),
        (lambda rows: draw(rows, None), "expected a uniform number for each of 2 rows, not None"),
        (lambda rows: draw(rows, 0.5), "expected a uniform number for each of 2 rows, not 0.5"),
    ],
)
def test_an_argument_outside_its_range_is_refused_alike(call, message, kernels):
    with no_kernels(not kernels):
        for dtype in (np.float32, np.float64):
            with pytest.raises(UsageError) as caught:
                call(ROWS_OF_4.astype(dtype))
            assert str(caught.value) == message


@needs_kernels
@pytest.mark.parametrize("nats", [[0.5, 2.0], (0.5, 2.0), np.array([0.5, 2.0]), [0.5], 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nats_for_each_row(nats, dtype):
    rows = np.array([[1.0, 3.0, -INF, 2.0]] * 2, dtype)
    each = np.broadcast_to(nats, 2)
    expected = np.concatenate([within_nats(rows[:1], float(one)) for one in each])
    for found in both(lambda: within_nats(rows, nats)):
        assert found.tolist() == expected.tolist()


@needs_kernels
@pytest.mark.parametrize("t", [[0.5, 2.0, 1.0], [0.0, 1e-300, 1e300], [1e30, 1e-30, 3.0]])
def test_a_temperature_for_each_row(t):
    rows = np.array([[1.0, 3.0, -INF, 2.0]] * 3, np.float32)
    expected = np.concatenate([apply_temperature(rows[:1], each) for each in t])
    for logits in (rows, rows.astype(np.float64)):
        quick, plain = both(lambda logits=logits: apply_temperature(logits, np.array(t)))
        for found in (quick, plain):
            assert found.dtype == logits.dtype
            assert softmax(found) == pytest.approx(softmax(expected), rel=1e-6)


def test_a_formula_asks_for_a_kernel_that_there_is():
    with pytest.raises(
        UsageError,
        match=r"^there is no kernel 'top_g'; the kernels on logits are: apply_mask, .*, top_h, ",
    ):
        compiled("top_g")
    with pytest.raises(UsageError, match=r"^there is no kernel 'np'"):  # a name of that module
        compiled("np")
