"""The filters once more, as plain as can be: sort everything, one row, the definition word by word.

Also what the tests of the filters share: rows to try, and what is true of every filter.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import strategies as st

from corelm import Context, Sampler, entropy, sampling_distribution
from corelm.numerics.distributions import entropy_of_logits
from corelm.validation import apply

INF = float("inf")
SLACK = 1e-12
NOWHERE = Context.of([[0]])


def probabilities(row):
    weights = np.exp(row - row.max())
    return weights / weights.sum(dtype=np.float64)


def surprisals(row):
    """-ln p, without the detour over p."""
    below = row.astype(np.float64) - row.max()
    return np.log(np.exp(below).sum()) - below


def entropy_of(row):
    return float(entropy(probabilities(row)))


def falling_order(row):
    order = np.argsort(-row, kind="stable")
    return order[row[order] > -INF]


def prefix(order, mass, p):
    """The shortest prefix of an order with a mass of at least p."""
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


# What to try


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
"""Rows with ties, with tokens out of play, of one token, with sizes beyond all measure."""

SHARES = st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.75, 0.8, 0.9]) | st.floats(0.001, 0.999)


def _random_rows():
    rng = np.random.default_rng(3)
    for size in (1, 2, 5, 300, 3000, 20_000):
        yield "wide", rng.normal(0, 4, size)
        yield "narrow", rng.normal(0, 0.1, size)
        yield "flat", np.zeros(size)
        yield "ties", rng.integers(0, 9, size) * 1.0
        yield "zipf", -np.log(rng.permutation(size) + 1.0) + rng.normal(0, 0.1, size)
        certain = rng.normal(0, 1, size)
        certain[size // 2] += 40
        yield "certain", certain
        holes = rng.normal(0, 3, size)
        holes[rng.random(size) < 0.9] = -INF
        holes[-1] = 0.5
        yield "holes", holes


RANDOM = [
    pytest.param(row.astype(dtype), id=f"{name}-{len(row)}-{dtype.__name__}")
    for name, row in _random_rows()
    for dtype in (np.float32, np.float64)
]
on_random_rows = pytest.mark.parametrize("row", RANDOM)


# What is true of filters


def drawn_from(sampler: Sampler, p, dtype=np.float64):
    """The distribution that a sampler makes of probabilities."""
    with np.errstate(divide="ignore"):
        return sampling_distribution(sampler, np.log(np.array(p, dtype)))


def kept(sampler: Sampler, row) -> list[int]:
    """The ids that a filter keeps, once it is sure that their logits are as they were."""
    changed = sampler(row[None, :], NOWHERE)[0]
    tokens = np.flatnonzero(changed > -INF)
    assert np.array_equal(changed[tokens], row[tokens])
    return tokens.tolist()


def kept_of(sampler: Sampler, p) -> list[int]:
    """The ids that a filter keeps of probabilities."""
    return np.flatnonzero(drawn_from(sampler, p)).tolist()


def assert_same(sampler: Sampler, row, expected) -> None:
    assert kept(sampler, row) == sorted(expected.tolist())


def assert_divergence_is_the_mass_removed(sampler: Sampler, row) -> None:
    """KL(filtered || model) = -ln of the mass that is kept."""
    before, after = probabilities(row), sampling_distribution(sampler, row)
    some = after > 0
    divergence = float((after[some] * np.log(after[some] / before[some])).sum())
    assert divergence == pytest.approx(-math.log(before[kept(sampler, row)].sum()), abs=1e-9)


def assert_entropy_does_not_rise(sampler: Sampler, row) -> None:
    after = sampler(row[None, :], NOWHERE)[0]
    assert entropy_of_logits(after) <= entropy_of_logits(row) + 1e-9


def assert_permutes(sampler: Sampler) -> None:
    """Without ties, the ids of the tokens mean nothing."""
    rng = np.random.default_rng(8)
    for size in (4, 700, 5000):
        row = rng.normal(0, 3, size)
        order = rng.permutation(size)
        there = {int(order[i]) for i in kept(sampler, row[order])}
        assert there == set(kept(sampler, row))


def assert_switched_off(sampler: Sampler) -> None:
    """The very same logits come back, whatever they are."""
    logits = np.array([[0.1, 7.3, -INF, 1e30], [5e-324, 0.0, 0.0, -1.0]], dtype=np.float64)
    for given in (logits, logits.astype(np.float32)):
        result = apply(sampler, given, Context.of([[0], [0]]))
        assert np.shares_memory(result, given)
        assert np.array_equal(result, given)


def assert_survives_the_ends(sampler: Sampler) -> None:
    """The largest and the smallest number of a type are logits too, and no cause for a warning."""
    for dtype in (np.float32, np.float64):
        ends = np.finfo(dtype)
        rows = np.array([[ends.max, ends.min, -INF], [ends.min, ends.min, 0]], dtype)
        after = sampler(rows, Context.of([[0], [0]]))
        assert np.isfinite(after.max(axis=-1)).all()
        assert after.dtype == dtype


def assert_batch_is_its_rows(sampler: Sampler) -> None:
    rows = np.random.default_rng(9).normal(0, 3, (40, 9000)).astype(np.float32)
    together = sampler(rows, Context.of(np.zeros((len(rows), 1))))
    for row, changed in zip(rows, together, strict=True):
        assert np.array_equal(sampler(row[None, :], NOWHERE)[0], changed)
