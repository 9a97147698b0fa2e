"""Kernels on layers: the results of their definitions, the same for any number of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_kernels import kernels
from native_helpers import by_definition

from corelm.models.networks import base, layers


@pytest.mark.parametrize("units", [1, 16, 37, 500])
@pytest.mark.parametrize("inputs", [1, 8, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_product_is_that_of_numpy_and_the_same_for_any_number_of_tokens(units, inputs, dtype):
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((inputs, units)).astype(dtype).astype(np.float32)
    bias = rng.standard_normal(units, dtype=np.float32)
    x = rng.standard_normal((64, 1, inputs), dtype=np.float32)
    linear = layers.Linear(kernel, bias)
    whole = linear(x)
    np.testing.assert_allclose(whole, x @ kernel + bias, rtol=1e-4, atol=1e-4)
    for tokens in range(1, 20):
        assert np.array_equal(linear(x[:tokens]), whole[:tokens])


@pytest.mark.parametrize("activation", layers.ACTIVATIONS)
@pytest.mark.parametrize("units", [16, 21])
def test_activation_and_addition_are_those_of_numpy(activation, units):
    rng = np.random.default_rng(6)
    kernel = rng.standard_normal((12, units), dtype=np.float32)
    x, add = rng.standard_normal((7, 2, 12), "f4"), rng.standard_normal((7, 2, units), "f4")

    def layer():
        return layers.Linear(kernel, activation=activation)(x, add)

    np.testing.assert_allclose(layer(), by_definition(layer), rtol=1e-4, atol=1e-4)


def test_weights_without_half_precision_values_stay_in_single_precision():
    columns = np.array([[1.0, 1 / 3], [2.0**-24, 65504.0]], np.float32)
    halves = np.empty((1, 2, kernels.PANEL), np.float16)
    assert kernels.pack(columns[1:].T, halves)
    assert not kernels.pack(columns.T, halves)
    assert layers.Linear(columns.T)(np.eye(2, dtype=np.float32)[None])[0].tolist() == [
        [1.0, 2.0**-24],
        [np.float32(1 / 3), 65504.0],
    ]


@pytest.mark.parametrize("width", [1, 7, 16, 40, 256])
@pytest.mark.parametrize("shifted", [False, True])
def test_norms_are_those_of_numpy(width, shifted):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 20, width), dtype=np.float32)
    scale, shift = rng.standard_normal((2, width), dtype=np.float32)
    norm = layers.Norm(scale, shift if shifted else None)
    np.testing.assert_allclose(norm(x), by_definition(norm, x), rtol=2e-5, atol=2e-5)
    assert np.array_equal(norm(x[1:2, 3:4]), norm(x)[1:2, 3:4])


@pytest.mark.parametrize("shape", [(1, 1), (5, 16), (7, 37), (32, 48)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("panels_dtype", [np.float16, np.float32])
def test_halves_are_packed_like_the_floats_that_they_equal(shape, order, panels_dtype):
    halves = np.asarray(np.random.default_rng(2).standard_normal(shape), np.float16, order=order)
    inputs, units = shape
    of_halves, of_floats = np.full(
        (2, -(-units // kernels.PANEL), inputs, kernels.PANEL), 9, panels_dtype
    )
    for matrix, panels in ((halves, of_halves), (halves.astype(np.float32), of_floats)):
        kernels.pack(matrix, panels)
    assert np.array_equal(of_halves, of_floats)
    columns = of_halves.swapaxes(0, 1).reshape(inputs, -1)
    assert np.array_equal(columns[:, :units], halves)
    assert not columns[:, units:].any()


def test_a_matrix_between_the_elements_of_another_is_refused():
    odd = np.zeros((4, 4), np.uint8)[:, :2].view(np.float16)  # 4 bytes apart
    assert kernels.pack(odd, np.empty((1, 4, 16), np.float16))
    structured = np.zeros((4, 1), [("number", "f4"), ("more", "u1")])["number"]
    with pytest.raises(ValueError, match="matrix: expected an aligned array"):
        kernels.pack(structured, np.empty((1, 4, 16), np.float32))


def test_every_finite_half_is_embedded_exactly():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(-1, 64)
    reads, zeros = base.Graph(), np.zeros((1, 64), np.float32)
    reads.add(layers.Embed(halves, zeros), base.INPUT)
    plan = base.plan(reads, base.Graph(64).then(layers.Norm(np.ones(64, np.float32))))
    ids = np.arange(len(halves))[:, None]
    outputs = np.empty((len(halves), 1, 64), np.float32)
    logits, cache = (
        np.empty((len(halves), 0, 64), np.float32),
        np.empty((len(halves), 1, 1, 1, 1, 1), np.float32),
    )
    kernels.run(plan, ids, cache, None, outputs, logits)
    assert np.array_equal(outputs[:, 0], halves.astype(np.float32))
