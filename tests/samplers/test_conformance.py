"""Every implementation of a sampler does the same, and a filter does what its reference does."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from compiled_kernels import needs_kernels, replace_kernels
from conformance import (
    FILTERS,
    INF,
    NUMPY,
    ON_TORCH,
    OTHERS,
    context_of,
    filters,
    on_jax,
    on_strict,
)
from corelm_samplers.top_p import top_p
from hypothesis import given
from hypothesis import strategies as st
from reference_filters import KINDS, ROWS, probabilities, random_rows

import corelm
from corelm import Context, Sampler, entropy, sampling_distribution, softmax
from corelm.runs import chain_stages

each_filter = pytest.mark.parametrize("name", FILTERS)


def kept_by(call, sampler: Sampler, row: np.ndarray) -> list[int]:
    """Return the ids that a filter keeps, and check that their logits are unchanged."""
    changed = call(sampler, row[None, :])[0]
    tokens = np.flatnonzero(changed > -INF)
    assert changed.dtype == row.dtype
    assert np.array_equal(changed[tokens], row[tokens])
    return tokens.tolist()


# Filters and their references


@each_filter
@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_keeps_what_its_reference_keeps(name, kind):
    for value, sampler in filters(name):
        for row in random_rows(kind):
            expected = sorted(FILTERS[name].keeps(row, value).tolist())
            for implementation, call in NUMPY.items():
                found = kept_by(call, sampler, row)
                assert found == expected, f"{sampler} on {len(row)} {row.dtype} by {implementation}"


@each_filter
@given(row=ROWS, data=st.data())
def test_a_filter_keeps_what_its_reference_keeps_on_edges(name, row, data):
    entry = FILTERS[name]
    value = data.draw(entry.any_value)
    sampler = corelm.sampler(name, **{entry.parameter: value})
    kept = kept_by(NUMPY["kernels"], sampler, row)
    assert kept == sorted(entry.keeps(row, value).tolist())
    before, after = probabilities(row), sampling_distribution(sampler, row)
    in_play = after > 0
    divergence = float((after[in_play] * np.log(after[in_play] / before[in_play])).sum())
    assert divergence == pytest.approx(-math.log(before[kept].sum()), abs=1e-9)
    if entry.lowers_entropy:
        assert entropy(after) <= entropy(before) + 1e-9


# The laws of the test kit, at sizes at which the kernels change their methods


@each_filter
def test_ids_mean_nothing_without_ties(name):
    rng = np.random.default_rng(8)
    for size in (4, 700, 5000):
        row, order = rng.normal(0, 3, size), rng.permutation(size)
        for dtype in (np.float32, np.float64):
            logits = row.astype(dtype)
            for _, sampler in filters(name):
                there = {int(order[i]) for i in kept_by(NUMPY["kernels"], sampler, logits[order])}
                assert there == set(kept_by(NUMPY["kernels"], sampler, logits))


BATCHES = [
    *(sampler for name in FILTERS for _, sampler in filters(name)),
    *map(corelm.sampler, OTHERS),
]


@pytest.mark.parametrize("sampler", BATCHES, ids=str)
def test_a_batch_is_its_rows(sampler):
    rows = np.random.default_rng(9).normal(0, 3, (40, 9000)).astype(np.float32)
    together = sampler(rows, context_of(rows))
    for row, changed in zip(rows[::3], together[::3], strict=True):
        assert np.array_equal(sampler(row[None, :], context_of(row[None, :]))[0], changed)


@pytest.mark.parametrize("sampler", BATCHES, ids=str)
def test_the_largest_and_smallest_numbers_of_a_type_are_logits(sampler):
    for dtype in (np.float32, np.float64):
        ends = np.finfo(dtype)
        rows = np.array([[ends.max, ends.min, -INF], [ends.min, ends.min, 0]], dtype)
        for call in NUMPY.values():
            after = call(sampler, rows)
            assert np.isfinite(after.max(axis=-1)).all()
            assert after.dtype == dtype


@pytest.mark.parametrize(
    "sampler",
    [
        *(f"{name}({f.parameter}={value})" for name, f in FILTERS.items() for value in f.off),
        "adaptive_p",
        "adaptive_p(target=-0.5)",
        "ban",
        "dry",
        "frequency_penalty",
        "length_bias",
        "logit_bias",
        "logit_bias(bias={0: 0.0, 1: -0.0})",
        "min_length",
        "mirostat(tau=inf)",
        "no_repeat_ngram",
        "presence_penalty",
        "repetition_penalty",
        "temperature(t=1)",
        "dynamic_temperature",
        "dynamic_temperature(exponent=4)",
        "edt(theta=0)",
        "quadratic",
        "quadratic(curve=2)",
        "xtc",
        "phase",
        "schedule",
        "stochastic",
    ],
)
def test_off_is_off(sampler):
    logits = np.array([[0.1, 7.3, -INF, 1e30], [5e-324, 0.0, 0.0, -1.0]], dtype=np.float64)
    for dtype in (np.float32, np.float64):
        rows = logits.astype(dtype)
        result = chain_stages.apply(corelm.sampler(sampler), rows, Context.of([[0], [0]]))
        assert np.shares_memory(result, rows)
        assert np.array_equal(result, rows)


DEFAULTS = dict.fromkeys(("epsilon", "eta", "min_p", "top_a", "top_k"), 0)
DEFAULTS |= dict.fromkeys(("tail_free", "top_h", "top_n_sigma", "top_p", "typical"), 1)


def test_the_defaults():
    found = {name: getattr(corelm.sampler(name), f.parameter) for name, f in FILTERS.items()}
    assert found == DEFAULTS


# Array libraries


def rows_to_agree_on(dtype) -> np.ndarray:
    """Rows whose logits are multiples of an eighth: no threshold is met by rounding alone."""
    rows = np.random.default_rng(4).integers(-40, 41, (5, 23)) / 8
    rows[0, ::2], rows[1, 4:], rows[2] = -INF, -INF, 0.5
    return rows.astype(dtype)


def assert_agree(found: np.ndarray, expected: np.ndarray, message: str) -> None:
    assert found.dtype == expected.dtype, message
    assert np.array_equal(found == -INF, expected == -INF), message
    assert np.allclose(softmax(found), softmax(expected), rtol=2e-5, atol=1e-7), message


AGREED = [
    *(f"{name}({f.parameter}={v})" for name, f in FILTERS.items() for v in f.values if v < 20),
    *OTHERS,
]


@pytest.mark.parametrize(
    "calls",
    [
        NUMPY | {"array-api-strict": on_strict},
        pytest.param(ON_TORCH, marks=pytest.mark.engines("torch")),
    ],
    ids=["standard", "torch"],
)
@pytest.mark.parametrize("expression", AGREED)
def test_every_library_agrees(expression, calls):
    sampler = corelm.sampler(expression)
    for dtype in (np.float32, np.float64):
        rows = rows_to_agree_on(dtype)
        expected = NUMPY["definition"](sampler, rows)
        for name, call in calls.items():
            assert_agree(call(sampler, rows), expected, f"{name} in {dtype.__name__}")


COMPILED = [
    *(f"{name}({f.parameter}={f.values[1]})" for name, f in FILTERS.items()),
    *(e for e in OTHERS if "e-300" not in e),
]


@pytest.mark.engines("jax")
@pytest.mark.parametrize("expression", COMPILED)
def test_it_runs_compiled_by_jax(expression):
    sampler, rows = corelm.sampler(expression), rows_to_agree_on(np.float32)
    assert_agree(on_jax(sampler, rows), NUMPY["definition"](sampler, rows), "JAX")


@pytest.mark.engines("jax")
def test_near_zero_jax_leaves_the_most_likely_token_alone_too():
    rows = rows_to_agree_on(np.float32)[3:]  # without ties for the most likely token
    found = softmax(on_jax(corelm.sampler("temperature(t=1e-300)"), rows))
    assert found.tolist() == softmax(NUMPY["kernels"](corelm.sampler("greedy"), rows)).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_every_sampler_runs_on_tensorflow(compiled):
    tf = pytest.importorskip("tensorflow", reason="pip install tensorflow")
    rows = rows_to_agree_on(np.float32)
    context = context_of(rows)
    for expression in COMPILED:
        sampler = corelm.sampler(expression)
        call = partial(sampler, context=context)
        if compiled:
            call = tf.function(call, autograph=False)
        found = call(tf.constant(rows)).numpy()
        assert_agree(found, NUMPY["definition"](sampler, rows), expression)


@pytest.mark.slow
def test_a_filter_runs_compiled_by_xla():
    tf = pytest.importorskip("tensorflow", reason="pip install tensorflow")
    rows, sampler = rows_to_agree_on(np.float32), corelm.sampler("typical(p=0.5)")
    call = partial(sampler, context=context_of(rows))
    found = tf.function(call, jit_compile=True, autograph=False)(tf.constant(rows))
    assert_agree(found.numpy(), NUMPY["definition"](sampler, rows), "XLA")


# Arrays of every layout


def layouts(rows: np.ndarray):
    """The same rows, laid out in ways that a kernel cannot read."""
    yield "reversed", rows[:, ::-1].copy()[:, ::-1]
    yield "strided", np.repeat(rows, 2, axis=1)[:, ::2]
    yield "Fortran", np.asfortranarray(rows)
    shifted = np.empty(rows.nbytes + 1, np.uint8)[1:].view(rows.dtype).reshape(rows.shape)
    shifted[...] = rows
    yield "unaligned", shifted
    read_only = rows.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only


@pytest.mark.parametrize("expression", ["top_p(p=0.9)", "top_k(k=5)", "min_p(p=0.1)", "greedy"])
def test_the_layout_of_an_array_means_nothing(expression):
    sampler, rows = corelm.sampler(expression), rows_to_agree_on(np.float32)
    expected = sampler(rows, context_of(rows))
    for name, logits in layouts(rows):
        assert np.array_equal(sampler(logits, context_of(rows)), expected), name


@needs_kernels
@pytest.mark.engines("torch")
def test_a_tensor_on_the_processor_is_lent_to_the_kernels_without_a_copy():
    import torch

    tensor, seen = torch.zeros(2, 5), []

    class Kernels:
        def __getattr__(self, name):
            seen.append(name)
            return lambda rows, *rest: seen.append(rows.ctypes.data)

    with replace_kernels(Kernels()):
        assert isinstance(top_p(tensor, 0.9), torch.Tensor)
        assert seen == ["top_p", tensor.data_ptr()]
        top_p(tensor.requires_grad_(), 0.9)  # autograd needs the definition
    assert len(seen) == 2


@pytest.mark.engines("torch")
def test_a_mask_after_a_stage_without_a_gradient_takes_the_models_tensor():
    import torch

    chain = corelm.sampler("greedy | ban(words=(1,))")
    logits = torch.tensor([[0.0, 3.0, 2.0]], requires_grad=True)
    assert chain(logits, context_of(logits)).tolist() == [[-np.inf, -np.inf, 0.0]]
