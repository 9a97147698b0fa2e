"""Kernels on rows of logits: the results of their definitions."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from compiled_kernels import kernels
from corelm_samplers.top_p import top_p
from corelm_samplers.typical import typical
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from native_helpers import by_definition, random_rows

from corelm import apply_temperature, draw, surprisals
from corelm.filters import min_and_shannon_entropy, top_k
from corelm.native.rows import sample
from corelm.numerics.distributions import (
    draw_checked,
    mask_tokens,
    rows_are_valid,
    surprisals_and_entropy,
)
from corelm.numerics.masks import apply_mask, forbid_tokens

INF = np.float32("inf")
finite = st.floats(-50, 50, width=32)
logit = st.one_of(
    finite, st.sampled_from([0.0, 1.0, -INF, -1e30, 3e38, -3e38, 1e-40, 2.0**-149]), finite
)


@st.composite
def rows(draw_from):
    """Make (batch, vocabulary) logits with ties, impossible tokens and extreme numbers."""
    shape = draw_from(st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 7, 8, 9, 127, 130, 300])))
    logits = draw_from(arrays(np.float32, shape, elements=logit))
    logits[np.isneginf(logits).all(axis=1), 0] = 0
    return logits


@given(rows())
def test_a_row_with_a_finite_logit_is_a_distribution(logits):
    assert rows_are_valid(logits)
    logits[-1] = -INF
    assert not rows_are_valid(logits)


@pytest.mark.parametrize("place", [0, 6, 8, 129, 299])
@pytest.mark.parametrize("invalid", [np.nan, np.inf])
def test_nan_and_infinity_are_found_anywhere(place, invalid):
    logits = random_rows(3, 300)
    logits[1, place] = invalid
    assert not rows_are_valid(logits)
    assert not mask_tokens(logits, np.array([], dtype=np.int64))
    assert not mask_tokens(logits, np.array([place]))  # masking does not hide it


@pytest.mark.parametrize("size", [1, 8, 300])
def test_rows_of_nan_cause_no_access_outside_them(size):
    """Their results may be anything."""
    logits = np.full((2, size), np.nan, np.float32)
    assert [len(result) for result in min_and_shannon_entropy(logits)] == [2, 2]
    result = np.empty((2, 1, 3))
    kernels.moments(logits, np.ones(1), result)
    stats, tokens = np.zeros((2, 4)), np.zeros(2, dtype=np.int64)
    kernels.divergence(logits, logits, stats, tokens, np.empty((2, 11)))


@given(rows(), st.sets(st.integers(0, 299)))
def test_masked_tokens(logits, tokens):
    tokens = np.array(sorted(t for t in tokens if t < logits.shape[1]), dtype=np.int64)
    result, expected = logits.copy(), logits.copy()
    assert mask_tokens(result, tokens) == by_definition(mask_tokens, expected, tokens)
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("way", ["kernels", "NumPy"])
def test_logits_are_masked_in_place(way):
    logits, tokens = random_rows(3, 300), np.array([0, 7])
    before = logits.copy()
    remove = mask_tokens if way == "kernels" else functools.partial(by_definition, mask_tokens)
    assert remove(logits, tokens)
    assert (logits[:, tokens] == -INF).all()
    before[:, tokens] = -INF
    assert np.array_equal(logits, before)


@pytest.mark.parametrize("way", ["kernels", "NumPy"])
def test_a_row_that_is_not_a_distribution_is_left_as_it_is(way):
    logits = random_rows(3, 300)
    logits[1, 7] = np.nan
    before = logits.copy()
    remove = mask_tokens if way == "kernels" else functools.partial(by_definition, mask_tokens)
    assert not remove(logits, np.array([7]))
    assert np.array_equal(logits[1], before[1], equal_nan=True)


@st.composite
def masked_rows(draw_from):
    """Make a sampler's logits, a mask and the model's logits, with rows that fall back."""
    logits = draw_from(rows())
    shape = logits.shape
    model = draw_from(arrays(np.float32, shape, elements=logit))
    model[np.isneginf(model).all(axis=1), -1] = 0
    return logits, draw_from(arrays(bool, shape)), model


@given(masked_rows())
def test_a_mask_is_its_definition(case):
    for result, expected in zip(apply_mask(*case), by_definition(apply_mask, *case), strict=True):
        np.testing.assert_array_equal(result, expected, strict=True)


@pytest.mark.parametrize("way", ["kernels", "NumPy"])
def test_a_mask_falls_back_to_the_model_and_then_to_its_likeliest_token(way):
    allowed = np.array([[False, True, True]] * 3)
    logits = np.array([[5, 1, -INF], [5, -INF, -INF], [5, -INF, -INF]], np.float32)
    model = np.array([[5, 1, 0], [5, 0, 2], [5, -INF, -INF]], np.float32)
    apply = apply_mask if way == "kernels" else functools.partial(by_definition, apply_mask)
    kept, fell_back = apply(logits, allowed, model)
    assert kept.tolist() == [[-INF, 1, -INF], [-INF, -INF, 0], [0, -INF, -INF]]
    assert fell_back.tolist() == [False, True, True]


@pytest.mark.parametrize("way", ["kernels", "NumPy"])
def test_a_mask_need_not_lie_as_the_kernels_read_it(way):
    logits, allowed = random_rows(4, 300), np.arange(300) % 7 > 0
    apply = apply_mask if way == "kernels" else functools.partial(by_definition, apply_mask)
    kept, fell_back = apply(logits, np.broadcast_to(allowed, logits.shape), logits[:, ::-1])
    assert np.array_equal(kept, np.where(allowed, logits, -INF))
    assert not fell_back.any()


@given(rows(), st.data())
def test_forbidden_tokens(logits, data):
    rows_of_ids = st.tuples(st.integers(0, len(logits) - 1), st.integers(-1, logits.shape[1]))
    pairs = sorted(data.draw(st.lists(rows_of_ids, max_size=12)))
    owners, ids = np.array(pairs, dtype=np.int64).reshape(-1, 2).T.copy()
    for whose in (owners, 0):
        result, is_valid = forbid_tokens(logits, ids, whose)
        expected, expected_valid = by_definition(forbid_tokens, logits, ids, whose)
        np.testing.assert_array_equal(result, expected, strict=True)
        assert is_valid == expected_valid


@pytest.mark.parametrize("way", ["kernels", "NumPy"])
@pytest.mark.parametrize("size", [3, 300])
@pytest.mark.parametrize("invalid", [np.nan, np.inf])
def test_a_list_does_not_hide_a_row_that_is_no_distribution(way, size, invalid):
    logits, forbid = random_rows(2, size), forbid_tokens
    if way == "NumPy":
        forbid = functools.partial(by_definition, forbid_tokens)
    assert forbid(logits, np.array([0]), 0)[1]
    assert not forbid(logits[:, :2].copy(), np.array([0, 1]), 0)[1]  # none is left
    logits[1, size - 1] = invalid
    assert not forbid(logits, np.array([0]), 0)[1]


@given(rows(), st.sampled_from([0.1, 0.7, 1.5, 1e-20, 1e20, np.inf]))
def test_temperatures(logits, t):
    assert np.array_equal(apply_temperature(logits, t), by_definition(apply_temperature, logits, t))


@pytest.mark.parametrize("t", [0.0, 1e-31, 0.7, np.inf])
@pytest.mark.parametrize("place", [0, 70_000, 149_999])
@pytest.mark.parametrize("largest", [9.0, 3e38])
def test_a_large_row_that_the_cores_divide(largest, place, t):
    """A quotient may overflow in any part, and a part may have no token."""
    logits = random_rows(1, 150_000)
    logits[0, :20_000] = logits[0, 100_000:130_000] = -INF
    logits[0, place] = largest
    result = apply_temperature(logits, t)
    np.testing.assert_array_equal(result, by_definition(apply_temperature, logits, t), strict=True)


@given(rows())
def test_entropies(logits):
    for result, expected in zip(
        min_and_shannon_entropy(logits), by_definition(min_and_shannon_entropy, logits), strict=True
    ):
        np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-6)


def test_the_entropy_of_a_row_that_is_all_but_certain_is_not_lost():
    logits = np.array([[0.0, -60.0, -70.0]], np.float32)
    least, usual = min_and_shannon_entropy(logits)
    rest = np.exp(-60) + np.exp(-70)
    assert least[0] == pytest.approx(rest, rel=1e-6)
    assert usual[0] == pytest.approx(rest + 60 * np.exp(-60) + 70 * np.exp(-70), rel=1e-5)


@given(rows(), st.randoms(use_true_random=False))
def test_surprisals_and_entropy(logits, random):
    tokens = np.array([random.randrange(logits.shape[1]) for _ in logits])
    expected = by_definition(surprisals, logits, tokens)
    np.testing.assert_allclose(surprisals(logits, tokens), expected, rtol=2e-6, atol=2e-6)
    nats, entropy = surprisals_and_entropy(logits, tokens)
    np.testing.assert_allclose(nats, surprisals(logits, tokens), rtol=2e-6, atol=2e-6)
    np.testing.assert_array_equal(entropy, min_and_shannon_entropy(logits)[1])


@pytest.mark.parametrize("stages", [(), (("apply_temperature", 0.5),), (("top_k", 40),)])
@pytest.mark.parametrize("size", [1, 40, 127, 128, 129, 256, 700])
def test_figures_of_a_draw_have_the_bits_of_kernels_after_it(stages, size):
    """Of whole blocks of 128, exponentials are computed once for the draw and its figures."""
    never = np.empty(0, dtype=np.int64)
    for spread in (0.0, 0.1, 4.0, 40.0):
        logits = np.round(random_rows(16, size, spread), 1)
        uniforms, figures = np.random.default_rng(1).random(16), np.full((3, 16), np.nan)
        model = logits.copy()
        out, tokens, surprisal, valid = sample(model, never, stages, uniforms, tuple(figures))
        assert valid
        again, nats = draw(out, uniforms)
        after = [again, nats, min_and_shannon_entropy(out)[1]]
        after += surprisals_and_entropy(logits, tokens)
        found = [tokens, surprisal, *figures]
        assert [each.tobytes() for each in found] == [each.tobytes() for each in after]


@pytest.mark.parametrize("invalid", [np.nan, np.inf, -INF])
@pytest.mark.parametrize("way", ["kernels", "NumPy"])
def test_a_draw_reports_rows_that_are_not_distributions(invalid, way):
    sees = draw_checked if way == "kernels" else functools.partial(by_definition, draw_checked)
    logits, uniforms = random_rows(3, 300), np.full(3, 0.5)
    assert sees(logits, uniforms)[2]
    logits[1, 7 if invalid != -INF else slice(None)] = invalid
    assert not sees(logits, uniforms)[2]


@pytest.mark.parametrize("k", [1, 2, 40, 943, 944, 945, 5000, 14999, 15000])
@pytest.mark.parametrize("distinct", [2, 50, 10**9])
def test_top_k_of_a_vocabulary_is_its_definition(k, distinct):
    """With few distinct numbers most of them tie, zeros of both signs among them."""
    rng = np.random.default_rng(0)
    logits = rng.integers(-distinct, distinct, (3, 15000)).astype(np.float32) * np.float32(-0.0625)
    logits[1, ::3] = -INF
    assert np.array_equal(top_k(logits, k), by_definition(top_k, logits, k))


@pytest.mark.parametrize("invalid", [np.nan, np.inf])
@pytest.mark.parametrize("filter_", [top_p, typical, lambda rows, _: top_k(rows, 40)])
def test_filters_of_invalid_rows_return_their_own_logits(filter_, invalid):
    """The invalid logit stands in a block of larger logits than all other blocks."""
    logits = random_rows(64, 15000)
    logits[:, 640:768] += 100
    logits[:, 700] = invalid
    kept = filter_(logits, 0.9)
    assert np.array_equal(kept[kept > -INF], logits[kept > -INF])
