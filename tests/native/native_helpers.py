"""Rows of logits, steps of networks, and functions without their kernels."""

from __future__ import annotations

import numpy as np
from compiled_kernels import no_kernels

from corelm.models.networks import layers
from corelm.models.networks.base import INPUT, Graph, plan


def by_definition(function, *arguments, **options):
    """Call a function without the kernels."""
    with no_kernels():
        return function(*arguments, **options)


def random_rows(batch, vocabulary, spread=4.0, seed=0):
    rng = np.random.default_rng(seed)
    return (spread * rng.standard_normal((batch, vocabulary))).astype(np.float32)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def some(*shape, seed=2):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def embedding(width):
    return layers.Embed(some(50, width), some(12, width))


def step_input(cache_layers, keys_and_values, kv_heads, size, batch=5, new=3, time=9, masks=0):
    """A step on a key/value cache of 12 tokens."""
    rng = np.random.default_rng(3)
    window = rng.integers(0, 50, (batch, 12))[:, :time]
    cache = rng.standard_normal(
        (batch, cache_layers, keys_and_values, kv_heads, 12, size), dtype=np.float32
    )
    mask = rng.random((masks, batch, new, time)) < 0.6 if masks else None
    return layers.StepInput(window, new, cache, mask)


def planned_run():
    """Arguments of `run` for a network large enough for two cores."""
    reads = Graph()
    x = reads.add(embedding(96), INPUT)
    for layer in range(4):
        x = reads.add(layers.Attend(2, 64, layer=layer), INPUT, reads.add(LINEAR[0], x))
        x = reads.add(LINEAR[1], x)
    step, head = step_input(4, 2, 2, 32), Graph(96).then(LINEAR[2])
    outputs, scores = np.empty((5, 3, 96), np.float32), np.empty((5, 2, 5000), np.float32)
    cache = step.kv_cache.copy()
    return (plan(reads, head), step.window, cache, None, outputs, scores)


LINEAR = [layers.Linear(some(*shape)) for shape in ((96, 192), (64, 96), (96, 5000))]
