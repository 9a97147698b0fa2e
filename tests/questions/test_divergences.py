"""The divergence of a sampler's distribution from the model's: by hand, and by identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from compiled_kernels import needs_kernels, no_kernels
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

import corelm
from corelm import Context
from corelm.numerics.row_weights import Distribution
from corelm.questions.divergences import DIVERGENCES, Divergence, divergence
from corelm.runs import ModelRows

INF = float("inf")
LN2 = math.log(2)
NAMED = ("entropy", "model_entropy", "kl_to_model", "mass_kept", "tokens_kept",
         "expected_surprisal", "top_probability")  # fmt: skip
P = np.log([0.5, 0.25, 0.125, 0.125])  # surprisals of 1, 2, 3 and 3 bits; 1.75 bits in all
NOWHERE = Context.of([[0]])


def figures(expression, logits=P):
    row = np.asarray(logits)
    sampler = corelm.sampler(expression)
    return divergence(
        Distribution(sampler(row[None, :], NOWHERE)[0]), Distribution(row, whole=True)
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("stochastic", (1.75 * LN2, 1.75 * LN2, 0, 1, 4, 1.75 * LN2, 0.5)),
        ("greedy", (0, 1.75 * LN2, LN2, 0.5, 1, LN2, 1)),
        # a quarter each: (1 + 2 + 3 + 3) / 4 bits under the model, 2 under itself
        ("uniform", (2 * LN2, 1.75 * LN2, 0.25 * LN2, 1, 4, 2.25 * LN2, 0.25)),
        # two thirds and one third
        (
            "top_k(k=2)",
            (math.log(3) - 2 / 3 * LN2, 1.75 * LN2, -math.log(0.75), 0.75, 2, 4 / 3 * LN2, 2 / 3),
        ),
        # the likeliest goes, the second of 2 bits stays alone
        ("typical(p=0.2)", (0, 1.75 * LN2, 2 * LN2, 0.25, 1, 2 * LN2, 1)),
        # 16, 4, 1 and 1 of 22
        (
            "temperature(t=0.5)",
            (
                math.log(22) - (16 * 4 + 4 * 2) / 22 * LN2,
                1.75 * LN2,
                (16 + 4 * 2 + 2 * 3) / 22 * LN2 - (math.log(22) - (16 * 4 + 4 * 2) / 22 * LN2),
                1,
                4,
                (16 + 4 * 2 + 2 * 3) / 22 * LN2,
                16 / 22,
            ),
        ),
    ],
)
def test_figures_by_hand(expression, expected):
    found = figures(expression)
    for name, value in zip(NAMED, expected, strict=True):
        assert getattr(found, name) == pytest.approx(value, abs=1e-14), name


@pytest.mark.parametrize(
    ("expression", "q", "varentropy"),
    [
        ("stochastic", [1 / 2, 1 / 4, 1 / 8, 1 / 8], (3.75 - 1.75**2) * LN2**2),
        ("greedy", [1, 0, 0, 0], 0),
        ("uniform", [1 / 4] * 4, 0),
        ("top_k(k=2)", [2 / 3, 1 / 3, 0, 0], 2 / 9 * LN2**2),
        ("typical(p=0.2)", [0, 1, 0, 0], 0),
        # twice the bits of surprisal, plus a constant
        ("temperature(t=0.5)", [16 / 22, 4 / 22, 1 / 22, 1 / 22],
         (50 / 22 - (30 / 22) ** 2) * 4 * LN2**2),
    ],
)  # fmt: skip
def test_distances_by_hand_and_by_scipy(expression, q, varentropy):
    found = figures(expression)
    assert found.varentropy == pytest.approx(varentropy, abs=1e-14)
    half = sum(abs(a - b) for a, b in zip(q, np.exp(P), strict=True)) / 2
    assert found.total_variation == pytest.approx(half, abs=1e-14)
    assert found.jensen_shannon == pytest.approx(jensenshannon(q, np.exp(P)) ** 2, abs=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "filter_", ["greedy", "top_k(k=40)", "top_p(p=0.9)", "min_p(p=0.001)", "top_n_sigma(n=3)"]
)
def test_the_divergence_of_a_filter_is_minus_ln_of_the_mass_that_it_keeps(filter_, dtype):
    logits = np.random.default_rng(1).normal(0, 3, 3000).astype(dtype)
    found = figures(filter_, logits)
    assert found.mass_kept < 1
    assert found.kl_to_model == pytest.approx(-math.log(found.mass_kept), abs=1e-14)


def test_an_almost_certain_row_keeps_its_digits():
    logits = np.array([0.0, *[-40.0] * 3])  # 3 e^-40 = 1.27e-17 next to 1
    rare = 3 * math.exp(-40)
    found = figures("stochastic", logits)
    assert found.entropy == pytest.approx(rare + 40 * rare, rel=1e-12)
    assert figures("greedy", logits).kl_to_model == pytest.approx(rare, rel=1e-12)


def test_surprisal_of_possible_and_impossible_tokens():
    row = np.array([0.0, -INF, 0.0, -INF, -INF, -INF, -INF, -INF, -INF])
    for distribution in (Distribution(row), Distribution(row, whole=True)):
        assert distribution.surprisal(2) == pytest.approx(LN2)
        assert distribution.surprisal(1) == INF


ROWS = st.lists(
    st.floats(-30, 30, width=32) | st.sampled_from([0.0, 0.0, 1.0, -INF, 1e30, -1e30, 1e-40, 3e38]),
    min_size=1,
    max_size=12,
).filter(lambda row: max(row) > -INF)
SAMPLERS = st.sampled_from(
    [
        "greedy",
        "uniform",
        "top_k(k=2)",
        "top_p(p=0.5)",
        "min_p(p=0.2)",
        "typical(p=0.5)",
        "temperature(t=0.3)",
        "temperature(t=7)",
    ]
)


@given(ROWS, SAMPLERS, st.sampled_from([np.float32, np.float64]))
def test_figures_keep_their_bounds(row, expression, dtype):
    logits = np.array(row, dtype=dtype)
    possible = int((logits > -INF).sum())
    found = figures(expression, logits)
    assert all(math.isfinite(value) for value in vars(found).values())
    assert 0 <= found.entropy <= math.log(found.tokens_kept) + 1e-6
    assert 0 <= found.model_entropy <= math.log(possible) + 1e-6
    assert found.kl_to_model >= 0
    assert found.expected_surprisal >= 0
    assert 0 <= found.mass_kept <= 1
    assert 1 <= found.tokens_kept <= possible
    assert 1 / found.tokens_kept - 1e-6 <= found.top_probability <= 1
    assert found.varentropy >= 0
    assert 0 <= found.total_variation <= 1 + 1e-12
    assert 0 <= found.jensen_shannon <= LN2 + 1e-12
    assert found.total_variation**2 <= found.kl_to_model / 2 + 1e-6  # Pinsker


@given(ROWS, SAMPLERS)
def test_gathering_few_tokens_gives_the_figures_of_the_whole_row(row, expression):
    logits = np.array([*row, *[-INF] * 50])
    changed = corelm.sampler(expression)(logits[None, :], NOWHERE)[0]
    p = Distribution(logits, whole=True)
    few, whole = (divergence(Distribution(changed, whole), p) for whole in (False, True))
    for name, value in vars(few).items():
        assert value == pytest.approx(getattr(whole, name), rel=1e-12, abs=1e-12)


# Many rows at once


TOKENS = DIVERGENCES.index("tokens_kept")


@needs_kernels
@given(ROWS, SAMPLERS, st.integers(1, 40), st.booleans())
def test_the_kernel_agrees_with_the_definition(row, expression, times, last):
    """For rows of any length, with one token left, and for a token that cannot be drawn."""
    logits = np.tile(np.array([row, row[::-1]], np.float32), times)
    changed = np.ascontiguousarray(corelm.sampler(expression)(logits, Context.of([[0], [0]])))
    tokens = np.array([changed[0].argmax(), logits.shape[1] - 1 if last else 0])
    quick = ModelRows(logits).compare_logits(changed, tokens)
    with no_kernels():
        plain = ModelRows(logits).compare_logits(changed, tokens)
    assert quick.figures == pytest.approx(plain.figures, rel=1e-5, abs=2e-5)
    assert quick.figures[:, TOKENS].tolist() == plain.figures[:, TOKENS].tolist()
    assert quick.surprisal == pytest.approx(plain.surprisal, rel=1e-5, abs=2e-5, nan_ok=True)
    assert quick.restored == plain.restored is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_do_not_depend_on_each_other(dtype):
    logits = np.random.default_rng(2).normal(0, 3, (7, 1000)).astype(dtype)
    logits[:, 3] = -INF
    changed = corelm.sampler("top_p(p=0.9)")(logits, Context.of([[0]] * 7))
    whole = ModelRows(logits).compare_logits(changed, np.arange(7))
    for i in range(7):
        alone = ModelRows(logits[i : i + 1]).compare_logits(changed[i : i + 1], np.array([i]))
        assert alone.figures[0].tolist() == whole.figures[i].tolist()
        assert np.array_equal(alone.surprisal, whole.surprisal[i : i + 1], equal_nan=True)
        kept = Divergence(*whole.figures[i])
        assert kept.kl_to_model == pytest.approx(-math.log(kept.mass_kept), abs=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unchanged_rows_have_no_divergence(dtype):
    logits = np.random.default_rng(3).normal(0, 3, (4, 1000)).astype(dtype)
    for row in ModelRows(logits).compare_logits(logits.copy(), np.zeros(4, np.int64)).figures:
        found = Divergence(*row)
        assert found.kl_to_model == found.total_variation == found.jensen_shannon == 0.0
        assert found.mass_kept == 1.0
        assert found.expected_surprisal == found.entropy == found.model_entropy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_restored_token_is_reported(dtype):
    logits = np.array([[0.0, -INF, -INF, 1.0], [0.0, 1.0, -INF, 1.0]], dtype)
    changed = np.array([[0.0, -INF, -INF, -INF], [-INF, -INF, 3.0, 0.0]], dtype)
    assert ModelRows(logits).compare_logits(changed, np.zeros(2, np.int64)).restored == 2


@pytest.mark.parametrize("way", ["kernels", "NumPy"])
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_distributions_are_not_compared(strange, way):
    logits = np.zeros((2, 5), np.float32)
    changed = logits.copy()
    changed[1, slice(None) if strange == -np.inf else 3] = strange
    with no_kernels(way == "NumPy"):
        assert ModelRows(logits).compare_logits(changed, np.zeros(2, np.int64)) is None
