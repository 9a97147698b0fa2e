"""Networks in one call: the results of their layers, one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_kernels import kernels
from native_helpers import by_definition, embedding, some, step_input

from corelm.models.networks import kinds as networks
from corelm.models.networks import layers
from corelm.models.networks.base import INPUT, Graph, plan


def run(reads, step, asked=0, head=None):
    """Run a step by the kernels; returns the outputs, and the logits after the last tokens."""
    width = reads.layers[-1].width
    head = head or Graph(width).then(layers.Norm(some(width)))
    outputs = np.empty((len(step.window), step.new, width), np.float32)
    scores = np.empty((len(step.window), asked, head.layers[-1].width), np.float32)
    planned = plan(reads, head)
    arrays = step.window, step.kv_cache, step.attention_mask, outputs, scores, step.times
    kernels.run(planned, *arrays)
    return outputs, scores


def assert_same(reads, step):
    """Assert outputs and cache equal to the definition's, in one step and token by token."""
    time, caches = step.window.shape[1], [step.kv_cache.copy() for _ in range(2)]
    result = run(reads, step._replace(kv_cache=caches[0]))[0]
    expected = by_definition(reads, step._replace(kv_cache=caches[1]))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(*caches, rtol=1e-4, atol=1e-4)
    for i in range(step.new):
        stop = time - step.new + i + 1
        mask = (
            None
            if step.attention_mask is None
            else step.attention_mask[:, :, i : i + 1, :stop].copy()
        )
        one = run(reads, step._replace(window=step.window[:, :stop], new=1, attention_mask=mask))[0]
        assert np.array_equal(one[:, 0], result[:, i])
    assert np.array_equal(step.kv_cache, caches[0])


@pytest.mark.parametrize(("heads", "size"), [(1, 3), (2, 8), (4, 64), (2, 40)])
@pytest.mark.parametrize("masks", [0, 2])
def test_attention_is_that_of_numpy(heads, size, masks):
    reads = Graph()
    embedded = reads.add(embedding(3 * heads * size), INPUT)
    reads.add(layers.Attend(heads, heads * size, layer=1, mask=1), INPUT, embedded)
    assert_same(reads, step_input(2, 2, heads, size, masks=masks))


@pytest.mark.parametrize("kv_heads", [1, 2, 3])
@pytest.mark.parametrize("masks", [0, 1])
def test_grouped_heads_share_keys_and_values(kv_heads, masks):
    """As if each head had its own copy."""
    heads, size = 6, 8
    reads = Graph()
    embedded = reads.add(embedding(kv_heads * size), INPUT)
    query = reads.add(layers.Linear(some(kv_heads * size, heads * size)), embedded)
    attend = layers.Attend(heads, heads * size)
    reads.add(attend, INPUT, query, embedded)
    shared = step_input(1, 1, kv_heads, size, masks=masks)
    assert_same(reads, shared)

    def own(x, axis):
        return x.reshape(*x.shape[:axis], kv_heads, -1).repeat(heads // kv_heads, axis)

    queries, tokens = some(5, 3, heads * size), some(5, 3, kv_heads * size)
    cache = shared.kv_cache.repeat(heads // kv_heads, axis=3)
    expected = attend(
        shared._replace(kv_cache=cache), queries, own(tokens, 2).reshape(queries.shape)
    )
    assert np.allclose(attend(shared, queries, tokens), expected, atol=1e-5)


@pytest.mark.parametrize("biased", [False, True])
def test_a_network_in_one_call_is_its_layers(biased):
    heads, size, dense, width = 2, 12, 40, 20

    def linear(inputs, units, activation=""):
        return layers.Linear(some(inputs, units), some(units) if biased else None, activation)

    def norm():
        return layers.Norm(some(width), some(width, seed=4) if biased else None)

    reads, head = Graph(), Graph(width)
    x = reads.add(embedding(width), INPUT)
    for layer in range(3):
        x = networks.pre_norm_block(
            reads,
            x,
            layers.Attend(heads, heads * size, layer=layer),
            norms=[norm(), norm()],
            qkv=linear(width, 3 * heads * size),
            attention_out=linear(heads * size, width),
            dense_in=linear(width, dense, "gelu"),
            dense_out=linear(dense, width),
        )
    head.add(linear(width, 50), head.add(norm(), INPUT))
    step = step_input(3, 2, heads, size)
    assert_same(reads, step)
    outputs, scores = run(reads, step, 2, head)
    assert np.array_equal(head(outputs[:, -2:]), scores)
    assert len(reads.placement.widths) < len(reads.layers) / 2


def test_values_share_memory_once_they_are_not_needed():
    graph = Graph(4)
    double = layers.Linear(2 * np.eye(4, dtype=np.float32))
    first = graph.add(double, INPUT)
    third = graph.add(double, graph.add(double, first))
    graph.add(double, third, first)  # `first` is still needed here
    nodes, widths = graph.placement
    assert widths == [4] * 5
    assert len({node.output for node in nodes}) == 4
    x = np.ones((1, 1, 4), np.float32)
    assert graph(x).tolist() == by_definition(graph, x).tolist() == [[[18, 18, 18, 18]]]


@pytest.mark.parametrize("masks", [0, 1])
@pytest.mark.parametrize("new", [1, 3])
def test_rows_of_different_lengths_have_the_bits_of_each_alone(masks, new):
    heads, size = 2, 24
    reads = Graph()
    embedded = reads.add(embedding(3 * heads * size), INPUT)
    reads.add(layers.Attend(heads, heads * size), INPUT, embedded)
    step = step_input(1, 2, heads, size, new=new, masks=masks)
    step = step._replace(times=np.array([9, 3, 5, 9, 4]), window=np.ascontiguousarray(step.window))
    caches = [step.kv_cache.copy() for _ in range(2)]
    outputs = run(reads, step._replace(kv_cache=caches[0]))[0]
    rows = step._replace(kv_cache=caches[1]).rows()
    for row, found in zip(rows, outputs, strict=True):
        mask = None if row.attention_mask is None else row.attention_mask.copy()
        assert np.array_equal(run(reads, row._replace(attention_mask=mask))[0][0], found)
    assert np.array_equal(*caches)
