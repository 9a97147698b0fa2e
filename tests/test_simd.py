"""With vectors of eight and of sixteen floats the kernels return the same bits."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
from compiled_kernels import kernels

from corelm import Context, draw, generate, log_softmax, sampler, softmax, surprisals
from corelm.filters import min_and_shannon_entropy, within_nats
from corelm.models.networks.base import INPUT, Graph, plan
from corelm.models.networks.layers import ACTIVATIONS, Attend, Embed, Linear, Norm
from corelm.runs import ModelRows
from corelm.testing import ToyModel

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


UNIFORMS, TOKENS = np.random.default_rng(1).random(3), np.array([0, 1, 2])
CONTEXT = Context.of([[3, 1, 3], [2, 2, 4], [0, 1, 2]])
EXPRESSIONS = [
    "ban(words=[0, 1, 2])",
    "dynamic_temperature(0.5, 1.5, exponent=0.7)",
    "edt(t=1.5, theta=0.5)",
    "eta(0.05)",
    "frequency_penalty(0.7)",
    "greedy",
    "quadratic(0.3, curve=2)",
    "repetition_penalty(1.3)",
    "tail_free(0.95)",
    "temperature(0.7)",
    "top_a(0.5)",
    "top_h(0.6)",
    "top_k(40)",
    "top_k(1) | ban(words=[1])",
    "top_n_sigma(1)",
    "top_p(0.9)",
    "typical(0.9)",
    "uniform",
    "xtc(0.5, threshold=0.05)",
]


def moments(rows):
    result = np.empty((len(rows), 3, 3))
    kernels.moments(rows, np.array([0.1, 0.7, 1.5]), result)
    return result


FUNCTIONS = {
    "divergence": lambda rows: (
        ModelRows(rows).compare_logits(sampler("top_p(0.9)")(rows, CONTEXT), TOKENS).figures
    ),
    "draw": lambda rows: draw(rows, UNIFORMS),
    "log_softmax": log_softmax,
    "min_and_shannon_entropy": min_and_shannon_entropy,
    "moments": moments,
    "rows_are_valid": lambda rows: kernels.rows_are_valid(rows),
    "softmax": softmax,
    "surprisals": lambda rows: surprisals(rows, TOKENS),
    "within_nats": lambda rows: within_nats(rows, 2.0),
} | {text: partial(sampler(text), context=CONTEXT) for text in EXPRESSIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows(name):
    for spread, vocabulary in product([0.5, 4, 40], [5, 128, 300, 15_000]):
        rows = np.float32(spread) * some(3, vocabulary)
        rows[:, 3] = -np.inf
        assert_same(lambda rows=rows: FUNCTIONS[name](rows))


def test_texts():
    def write():
        texts = generate(ToyModel(), "the", sampler="top_p(0.9) | temperature(0.7)", n=9, seed=1)
        steps = [step for text in texts for step in text.steps]
        return np.array([(step.token, step.surprisal, step.entropy) for step in steps])

    assert_same(write)


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
