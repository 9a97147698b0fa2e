"""Independent references of the filters: one row, everything sorted, each formula word by word.

Also what the tests of the filters share: rows to try, and helpers for literal expectations.
"""

from __future__ import annotations

import math

import array_api_strict as strict
import numpy as np
from hypothesis import strategies as st

from corelm import Context, Sampler, entropy, sampling_distribution, softmax

try:
    import torch
except ImportError:
    torch = None

INF = float("inf")
SLACK = 1e-12
NOWHERE = Context.of([[0]])


def probabilities(row):
    weights = np.exp(row - row.max())
    return weights / weights.sum(dtype=np.float64)


def surprisals(row):
    """Return -ln p without computing p."""
    below = row.astype(np.float64) - row.max()
    return np.log(np.exp(below).sum()) - below


def entropy_of(row):
    return float(entropy(probabilities(row)))


def falling_order(row):
    order = np.argsort(-row, kind="stable")
    return order[row[order] > -INF]


def prefix(order, mass, p):
    """Return the shortest prefix of an order whose mass is at least p."""
    reached = np.cumsum(mass[order]) >= p * (1 - SLACK)
    return order[: int(reached.argmax()) + 1] if reached.any() else order


def top_k(row, k):
    return falling_order(row)[:k]


def top_p(row, p):
    return prefix(falling_order(row), probabilities(row), p)


def min_p(row, p):
    share = np.exp(row.astype(np.float64) - row.max())
    return np.flatnonzero((share >= p * (1 - SLACK)) & (row > -INF))


def at_least(row, probability):
    kept = -surprisals(row) >= math.log(probability) - SLACK
    kept[row.argmax()] = True
    return np.flatnonzero(kept)


def epsilon(row, epsilon):
    return at_least(row, epsilon)


def eta(row, epsilon):
    return at_least(row, min(epsilon, math.sqrt(epsilon) * math.exp(-entropy_of(row))))


def top_n_sigma(row, n):
    logits = row[row > -INF].astype(np.float64)
    sigma = math.sqrt(np.square(logits - logits.mean()).mean())
    return np.flatnonzero(row >= row.max() - n * sigma - SLACK)


def top_a(row, a):
    likely = -surprisals(row)
    kept = likely >= math.log(a) + 2 * likely.max() - SLACK
    kept[row.argmax()] = True
    return np.flatnonzero(kept)


def tail_free(row, z):
    order = np.argsort(-row, kind="stable")
    likely = probabilities(row.astype(np.float64))[order]
    bends = np.abs(np.diff(likely, n=2))
    if bends.sum() <= 1e-9 * likely[0]:
        return order[row[order] > -INF]
    inside = bends.cumsum() * (1 - SLACK) <= z * bends.sum()
    return falling_order(row)[: 1 + np.count_nonzero(inside)]


def typical(row, p):
    far = np.abs(surprisals(row) - entropy_of(row))
    order = np.argsort(far, kind="stable")
    order = order[row[order] > -INF]
    steps = np.diff(far[order], prepend=0.0) > SLACK * (1 + far[order])  # more than rounding
    order = order[np.lexsort((order, np.cumsum(steps)))]
    return prefix(order, probabilities(row), p)


def top_h(row, h):
    order = falling_order(row)
    weights = np.exp((row - row.max())[order]).astype(np.float64)
    order, weights = order[weights > 0], weights[weights > 0]
    rest = np.append(0.0, weights[1:]).cumsum()  # without the first, which is 1
    nats = np.log1p(rest) - (weights * np.log(weights)).cumsum() / (1 + rest)
    count = np.count_nonzero(nats * (1 - SLACK) <= h * nats[-1])
    return order[: max(count, 1)]


# Rows to try


def row_of(numbers):
    return np.array(numbers, dtype=np.float64)


FEW = st.sampled_from([0.0, 0.0, 1.0, 2.0, math.log(2), math.log(3), -INF])
MANY = st.floats(-30, 30) | FEW | st.sampled_from([5e-324, -5e-324, -1e30])
ROWS = (
    st.lists(MANY, min_size=1, max_size=9).filter(lambda row: max(row) > -INF)
    | st.lists(FEW, min_size=1, max_size=40).filter(lambda row: max(row) > -INF)
    | st.lists(st.sampled_from([1e30, -1e30, 0.0, -INF]), min_size=1).filter(
        lambda row: max(row) > -INF
    )
).map(row_of)
"""Rows with ties, with impossible tokens, of one token, and with huge logits."""

SHARES = st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.75, 0.8, 0.9]) | st.floats(0.001, 0.999)

KINDS = ("wide", "narrow", "flat", "ties", "zipf", "certain", "holes")


def _rows_of_size(size, rng):
    """One row of each kind."""
    certain, holes = rng.normal(0, 1, size), rng.normal(0, 3, size)
    certain[size // 2] += 40
    holes[rng.random(size) < 0.9] = -INF
    holes[-1] = 0.5
    return {
        "wide": rng.normal(0, 4, size),
        "narrow": rng.normal(0, 0.1, size),
        "flat": np.zeros(size),
        "ties": rng.integers(0, 9, size) * 1.0,
        "zipf": -np.log(rng.permutation(size) + 1.0) + rng.normal(0, 0.1, size),
        "certain": certain,
        "holes": holes,
    }


_RNG = np.random.default_rng(3)
_RANDOM = [_rows_of_size(size, _RNG) for size in (1, 2, 5, 300, 3000, 20_000)]


def random_rows(*kinds):
    """Rows of some kinds, of many sizes, in both types."""
    for rows in _RANDOM:
        for kind in kinds or KINDS:
            yield from (rows[kind].astype(dtype) for dtype in (np.float32, np.float64))


# Literal expectations, which every array library must meet


def by_all(sampler: Sampler, rows: np.ndarray) -> np.ndarray:
    """Return the logits of a sampler, and check that torch and array-api-strict agree."""
    result = sampler(rows, NOWHERE)
    others = [np.asarray(sampler(strict.asarray(rows), NOWHERE))]
    if torch is not None:
        others.append(sampler(torch.from_numpy(rows), NOWHERE).numpy())
    for other in others:
        assert other.dtype == result.dtype
        assert np.array_equal(other == -INF, result == -INF)
        assert np.allclose(softmax(other), softmax(result), rtol=1e-5, atol=1e-30)
    return result


def drawn_from(sampler: Sampler, p, dtype=np.float64):
    """Return the distribution that a sampler turns probabilities into."""
    with np.errstate(divide="ignore"):
        row = np.log(np.array(p, dtype))
    if not sampler.is_neutral:
        by_all(sampler, row[None, :])
    return sampling_distribution(sampler, row)


def kept(sampler: Sampler, row) -> list[int]:
    """Return the ids that a filter keeps, and check that their logits are unchanged."""
    changed = by_all(sampler, row[None, :])[0]
    tokens = np.flatnonzero(changed > -INF)
    assert np.array_equal(changed[tokens], row[tokens])
    return tokens.tolist()


def kept_of(sampler: Sampler, p) -> list[int]:
    """Return the ids that a filter keeps of probabilities."""
    return np.flatnonzero(drawn_from(sampler, p)).tolist()
