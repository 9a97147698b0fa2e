"""The kernels that move probability agree with their definitions on rows of every shape."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from corelm_samplers.quadratic import quadratic
from corelm_samplers.top_h import top_h
from corelm_samplers.xtc import xtc
from kernels import needs_kernels

from corelm import softmax

SIZES = (1, 2, 7, 127, 128, 129, 300, 2000)
needs_kernels = needs_kernels


def rows() -> Iterator[np.ndarray]:
    """Yield batches in float32: normal, tied, flat, nearly flat, huge, deep, mostly impossible."""
    rng = np.random.default_rng(5)
    for size in SIZES:
        shape = (3, size)
        normal = rng.normal(0, 3, shape)
        holes = np.where(rng.random(shape) < 0.7, -np.inf, normal)
        holes[:, 0] = 0
        huge = np.clip(rng.normal(0, 1e38, shape), -3e38, 3e38)
        flat, nearly_flat = np.zeros(shape), rng.normal(0, 1e-4, shape)
        tied, deep = rng.integers(0, 3, shape), rng.normal(0, 100, shape)
        for logits in (normal, tied, flat, nearly_flat, huge, deep, holes):
            yield logits.astype(np.float32)


def both(function, logits, *arguments):
    """Return the answers of the kernel and of the definition."""
    with np.errstate(all="ignore"):
        return function(logits, *arguments), function.__wrapped__(logits, *arguments)


@needs_kernels
@pytest.mark.parametrize("h", [0.0, 0.1, 0.4, 0.9, 1.0])
def test_top_h_keeps_the_same_tokens(h):
    for logits in rows():
        kernel, definition = both(top_h, logits, h)
        assert np.array_equal(kernel, definition)


@needs_kernels
def test_softmax_has_the_same_probabilities():
    for logits in rows():
        kernel, definition = both(softmax, logits)
        np.testing.assert_allclose(kernel, definition, rtol=2e-5, atol=1e-7)


@needs_kernels
@pytest.mark.parametrize("row", [[np.nan, 1.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_softmax_of_no_distribution_is_nan(row):
    kernel, definition = both(softmax, np.array([row], dtype=np.float32))
    assert np.isnan(kernel).all()
    assert np.isnan(definition).any()


@needs_kernels
@pytest.mark.parametrize("factor", [0.3, 2.0, 1e-35, 1e32])
@pytest.mark.parametrize("curve", [1.0, 2.0, 3.0, 7.0])
def test_quadratic_bends_to_the_same_logits(factor, curve):
    for logits in rows():
        kernel, definition = both(quadratic, logits, factor, curve)
        np.testing.assert_allclose(kernel, definition, rtol=1e-5)


@needs_kernels
@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("protected", [(), (0, 1)])
def test_xtc_mixes_to_the_same_distribution(probability, threshold, protected):
    for logits in rows():
        kernel, definition = both(xtc, logits, probability, threshold, protected)
        np.testing.assert_allclose(
            softmax(kernel.astype(float)), softmax(definition.astype(float)), rtol=1e-4, atol=1e-6
        )
