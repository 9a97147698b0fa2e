"""The draw is exact: its statistics, its boundaries, and what it can never reach."""

from __future__ import annotations

import numpy as np
import pytest
from draws import INF, draws_of, example_logits, g_test
from hypothesis import example, given
from hypothesis import strategies as st

import corelm
from corelm import RandomStream, draw, sampling_distribution

BLOCK = 128  # tokens that the kernel sums at a time
ALMOST_ONE = np.nextafter(1.0, 0.0)

CHAINS = [
    "temperature(t=0.5) | temperature(t=3)",
    "top_k(k=50) | typical(p=0.9) | top_p(p=0.95) | min_p(p=0.05) | temperature(t=0.8)",
]
"""`test_statistics.py` has each sampler alone."""
ALPHA = 1e-7


@pytest.mark.parametrize("expression", CHAINS)
def test_the_draws_follow_the_distribution(expression):
    sampler, logits = corelm.sampler(expression), example_logits()
    counts = draws_of(sampler, logits, seed=5)
    assert g_test(counts, sampling_distribution(sampler, logits)) > ALPHA


def test_a_uniform_number_that_is_used_twice_is_caught():
    # The same number for two positions: the second token is then no free draw.
    logits = np.broadcast_to(np.log([0.5, 0.5]), (1000, 2))
    stream = RandomStream(5, range(1000))
    pairs = [
        2 * draw(logits, stream.at(p))[0] + draw(logits, stream.at(p + 1))[0] for p in range(100)
    ]
    twice = [3 * draw(logits, stream.at(p))[0] for p in range(100)]
    quarter = np.full(4, 0.25)
    assert g_test(np.bincount(np.concatenate(pairs), minlength=4), quarter) > ALPHA
    assert g_test(np.bincount(np.concatenate(twice), minlength=4), quarter) < ALPHA


# Tokens that can never be drawn


def boundaries(logits: np.ndarray) -> list[tuple[float, int]]:
    """Every uniform number at which another token begins, to the last bit, and that token."""
    found: list[tuple[float, int]] = []

    def token(uniform: float) -> int:
        return int(draw(logits[None, :], np.array([uniform]))[0][0])

    def search(low: float, high: float, below: int, above: int) -> None:
        middle = (low + high) / 2
        if below == above:
            return
        if middle in (low, high):
            found.append((high, above))
            return
        between = token(middle)
        assert below <= between <= above, "the token must not fall as the number rises"
        search(low, middle, below, between)
        search(middle, high, between, above)

    first, last = token(0.0), token(ALMOST_ONE)
    search(0.0, ALMOST_ONE, first, last)
    return [(0.0, first), *found]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vocabulary", [1, 7, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_no_uniform_number_reaches_a_token_of_probability_zero(vocabulary, dtype):
    rng = np.random.default_rng(vocabulary)
    logits = rng.normal(0, 3, vocabulary)
    logits[rng.random(vocabulary) < 0.7] = -INF
    logits[vocabulary // 2] = 0
    possible = np.flatnonzero(logits > -INF).tolist()
    steps = boundaries(logits.astype(dtype))
    assert [token for _, token in steps] == possible
    exact = np.cumsum(np.exp(logits.astype(dtype).astype(np.float64)))
    starts = np.concatenate([[0.0], exact])[possible] / exact[-1]
    assert [uniform for uniform, _ in steps] == pytest.approx(
        starts, abs=1e-6 if dtype == np.float32 else 1e-15
    )


@pytest.mark.slow
def test_a_token_of_probability_zero_is_never_drawn_in_ten_million_draws():
    logits = np.array([-INF, 0.0, -INF, -INF, -1.0, 2.0, -INF], dtype=np.float32)
    rows, rng = np.broadcast_to(logits, (10**5, 7)), np.random.default_rng(2)
    counts = sum(np.bincount(draw(rows, rng.random(10**5))[0], minlength=7) for _ in range(100))
    assert counts.sum() == 10**7
    assert counts[logits == -INF].tolist() == [0, 0, 0, 0]
    assert g_test(counts, corelm.softmax(logits)) > ALPHA


# The ends, and a plain reference


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ends_of_the_uniform_numbers(dtype):
    logits = np.array([[-INF, -INF, 1.0, 0.0, 0.5, -INF]], dtype)
    assert draw(logits, np.array([0.0]))[0].tolist() == [2]
    assert draw(logits, np.array([ALMOST_ONE]))[0].tolist() == [4]


@pytest.mark.parametrize("n", [BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK])
def test_the_ends_of_the_uniform_numbers_where_blocks_are_impossible(n):
    logits = np.full((1, n), -INF)
    logits[0, n // 2] = logits[0, n // 2 + 1] = 3.0
    assert draw(logits, np.array([0.0]))[0].tolist() == [n // 2]
    assert draw(logits, np.array([ALMOST_ONE]))[0].tolist() == [n // 2 + 1]


def plain_draw(logits: np.ndarray, uniform: float) -> range:
    """The tokens that a plain inverse of the partial sums may give: one, or those at a boundary.

    Sums round in float64, and float32 weights of a kernel in float32: it adds eight of them so.
    """
    weights = np.exp(logits - logits.max())
    sums = weights.cumsum(dtype=np.float64)
    share = 4 * len(sums) * np.finfo(np.float64).eps
    if logits.dtype == np.float32:
        share += 8 * np.finfo(np.float32).eps
    target, rounding = uniform * sums[-1], share * sums[-1]
    first, last = sums.searchsorted([target - rounding, target + rounding], side="right")
    likely = np.flatnonzero(weights)
    return range(min(first, likely[-1]), min(last, likely[-1]) + 1)


LOGIT = st.floats(-30, 30) | st.sampled_from([0.0, -INF, -INF, 1e30, -1e30, 5e-324])
LUCK = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 0.25, 0.5, 0.75, ALMOST_ONE])


@given(
    st.lists(LOGIT, min_size=1, max_size=20).filter(lambda row: max(row) > -INF),
    st.integers(1, 40),
    st.lists(LUCK, min_size=1, max_size=8),
    st.sampled_from([np.float32, np.float64]),
)
@example([30.0, 0.0], 18, [0.5], np.float32)
@example([0.0] * 7 + [17.0, 0.0], 4, [0.5], np.float32)
def test_the_draw_is_the_plain_inverse_of_the_partial_sums(row, times, uniform, dtype):
    logits = np.tile(np.array(row, dtype), times)
    tokens, surprisal = draw(
        np.broadcast_to(logits, (len(uniform), len(logits))), np.array(uniform)
    )
    log_p = corelm.log_softmax(logits.astype(np.float64))
    for u, token, nats in zip(uniform, tokens.tolist(), surprisal.tolist(), strict=True):
        assert token in plain_draw(logits, u)
        assert logits[token] > -INF
        assert nats == pytest.approx(-log_p[token], abs=1e-5)


def test_a_thousand_random_rows_equal_the_plain_inverse():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 3, (1000, 3 * BLOCK + 7)).astype(np.float32)
    uniform = rng.random(1000)
    tokens, _ = draw(logits, uniform)
    expected = [plain_draw(row, u) for row, u in zip(logits, uniform, strict=True)]
    assert all(token in allowed for token, allowed in zip(tokens.tolist(), expected, strict=True))
    assert sum(len(allowed) for allowed in expected) < 1005
