"""With vectors of eight and of sixteen floats the kernels return the same bits."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from corelm_report.measure.on_contexts import at_temperatures
from corelm_samplers.dynamic_temperature import dynamic_temperature
from corelm_samplers.edt import edt
from corelm_samplers.eta import eta
from corelm_samplers.frequency_penalty import subtract_counts
from corelm_samplers.quadratic import quadratic
from corelm_samplers.tail_free import tail_free
from corelm_samplers.top_h import top_h
from corelm_samplers.top_n_sigma import logit_std
from corelm_samplers.top_p import top_p
from corelm_samplers.typical import typical
from corelm_samplers.xtc import xtc
from kernels import kernels

from corelm import apply_temperature, draw, log_softmax, softmax, surprisals
from corelm.filters import (
    change_logits,
    min_and_shannon_entropy,
    top_k,
    within_nats,
)
from corelm.models.networks.base import INPUT, Graph, plan
from corelm.models.networks.layers import ACTIVATIONS, Attend, Embed, Linear, Norm
from corelm.native.rows import sample
from corelm.numerics.distributions import greedy, mask_tokens, rows_are_valid
from corelm.numerics.masks import apply_mask, forbid_tokens
from corelm.runs import ModelRows

pytestmark = pytest.mark.skipif(
    kernels is None or kernels.use_vector_width(16) != 16,
    reason="there are no kernels for vectors of sixteen floats here",
)


def some(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def assert_same(function):
    """A function returns the same array, or tuple of arrays, with both widths."""
    results = []
    for width in (8, 16):
        assert kernels.use_vector_width(width) == width
        result = function()
        results.append(result if isinstance(result, tuple) else (result,))
    for eight, sixteen in zip(*results, strict=True):
        assert np.array_equal(eight, sixteen)


def sampled(rows):
    figures = np.empty((3, len(rows)))
    stages = ("top_p", 0.9), ("apply_temperature", 0.7)
    return (*sample(rows.copy(), TOKENS[:1], stages, UNIFORMS, tuple(figures)), *figures)


UNIFORMS, TOKENS = np.random.default_rng(1).random(3), np.array([0, 1, 2])
FUNCTIONS = {
    "mask_tokens": lambda rows: mask_tokens(rows, TOKENS),
    "rows_are_valid": rows_are_valid,
    "apply_mask": lambda rows: apply_mask(np.where(rows > 1, rows, -np.inf), rows < 1, rows),
    "forbid_tokens": lambda rows: forbid_tokens(rows, np.array([3, 1]), np.array([0, 2])),
    "apply_temperature": lambda rows: apply_temperature(rows, 0.7),
    "dynamic_temperature": lambda rows: dynamic_temperature(rows, 0.5, 1.5, 0.7),
    "edt": lambda rows: edt(rows, 1.5, 0.5, 0.8),
    "eta": lambda rows: eta(rows, 4.0),
    "log_softmax": log_softmax,
    "subtract_counts": lambda rows: subtract_counts(rows, np.array([3, 1, 3] * 2), 2, 0.7),
    "tail_free": lambda rows: tail_free(rows, 0.95),
    "uniform": lambda rows: apply_temperature(rows, np.inf),
    "draw": lambda rows: draw(rows, UNIFORMS),
    "sample": lambda rows: sampled(rows),
    "surprisals": lambda rows: surprisals(rows, TOKENS),
    "min_and_shannon_entropy": min_and_shannon_entropy,
    "greedy": greedy,
    "within_nats": lambda rows: within_nats(rows, 2.0),
    "top_p": lambda rows: top_p(rows, 0.9),
    "top_h": lambda rows: top_h(rows, 0.6),
    "typical": lambda rows: typical(rows, 0.9),
    "top_k": lambda rows: top_k(rows, min(40, rows.shape[1])),
    "logit_std": logit_std,
    "softmax": softmax,
    "quadratic": lambda rows: quadratic(rows, 0.3, 2.0),
    "change_logits": lambda rows: change_logits(
        rows, [[0], [2]], [4, 1, 4], divide=1.3, subtract=[0.1, -2, 7]
    ),
    "xtc": lambda rows: xtc(rows, 0.5, 0.05),
    "divergence": lambda rows: ModelRows(rows).compare_logits(top_p(rows, 0.9), TOKENS).figures,
    "moments": lambda rows: at_temperatures(rows, [0.1, 0.7, 1.5]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows(name):
    for spread, vocabulary in product([0.5, 4, 40], [5, 128, 300, 15_000]):
        rows = np.float32(spread) * some(3, vocabulary)
        rows[:, 3] = -np.inf
        assert_same(lambda rows=rows: FUNCTIONS[name](rows))


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 7, 8, 9, 30])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_products(dtype, tokens):
    for units, activation in zip((16, 37, 500, 1000), ACTIVATIONS, strict=True):
        kernel = some(70, units).astype(dtype).astype(np.float32)
        linear, x = Linear(kernel, some(units), activation), some(tokens, 1, 70, seed=2)
        assert_same(lambda run=linear, x=x: run(x, some(tokens, 1, run.width)))


@pytest.mark.parametrize("width", [1, 8, 16, 23, 256])
@pytest.mark.parametrize("shifted", [False, True])
def test_norms(width, shifted):
    norm = Norm(some(width), some(width, seed=1) if shifted else None)
    assert_same(lambda: norm(some(2, 3, width, seed=2)))


@pytest.mark.parametrize(("heads", "size"), [(1, 3), (2, 8), (3, 40), (4, 64), (1, 300)])
@pytest.mark.parametrize("time", [1, 4, 9, 33])
def test_attention(heads, size, time):
    width = heads * size
    reads, head = Graph(), Graph(width)
    embedded = reads.add(Embed(some(50, 3 * width), some(time, 3 * width)), INPUT)
    reads.add(Attend(heads, width), INPUT, embedded)
    head.add(Norm(some(width)), INPUT)
    planned, window = plan(reads, head), np.random.default_rng(3).integers(0, 50, (2, time))

    def read():
        memory = np.zeros((2, 1, 2, heads, time, size), np.float32)
        outputs, scores = np.empty((2, 2, time, width), np.float32)
        kernels.run(planned, window, memory, None, outputs, scores)
        return memory, outputs, scores

    assert_same(read)
