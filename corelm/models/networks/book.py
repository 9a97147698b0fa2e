"""The network `book`: the decoder of the chapter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm.models.architectures import Architecture
from corelm.models.networks.base import (
    Ids,
    Shapes,
    Transformer,
    dense_layer,
    dense_shapes,
    embedding_layer,
    embedding_shapes,
    layer_norm_shapes,
    weights_below,
)
from corelm.models.networks.graph import INPUT, Graph
from corelm.models.networks.layers import Attend, Linear, Norm, Weights


class Book(Transformer):
    """The chapter's decoder: attention over the embeddings twice, then dense layers."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        layers = weights_below(w, "decoder")
        norms = [weights_below(layers, f"layernorm_{i}") for i in (1, 2, 3)]
        norm_1, norm_2, norm_3 = (Norm(norm["gamma"], norm["beta"]) for norm in norms)
        attentions = [weights_below(layers, f"attention_{i}") for i in (1, 2)]
        body, hidden = Graph(), Graph(a.width)
        embedded = body.add(embedding_layer(w)[1], INPUT)
        x = _attention(body, embedded, embedded, attentions[0], norm_1, mask=0)
        _attention(body, x, embedded, attentions[1], norm_2, mask=1)
        inner = hidden.add(dense_layer(layers, "dense_1", activation="relu"), INPUT)
        hidden.add(norm_3, hidden.add(dense_layer(layers, "dense_2"), inner, INPUT))
        cache_shape = (1, 1, 1, a.context_length, a.width)  # both attentions share the cache
        super().__init__(cache_shape, body, hidden, dense_layer(w, "probabilities"))

    def _attention_mask(self, window: Ids, new: int, times: Ids | None) -> NDArray[np.bool_] | None:
        """Mask padding; None where there is none."""
        is_token = window != 0
        if times is not None:  # nothing attends to what follows a row
            is_token |= np.arange(window.shape[1]) >= times[:, None]
        if is_token.all():
            return None
        ends = np.full(len(window), window.shape[1]) if times is None else times
        queries = np.take_along_axis(is_token, ends[:, None] + np.arange(-new, 0), axis=1)
        mask = np.repeat(is_token[:, None], new, axis=1)
        # Keras masks the queries of the first attention too: padding attends to everything.
        return np.stack([mask & queries[:, :, None], mask])


def _attention(graph: Graph, x: int, tokens: int, w: Weights, norm: Norm, mask: int) -> int:
    """Add Keras's MultiHeadAttention, the residual and the normalisation; return the output.

    Keras scores a token e with (x Q + q) . (e K + k) in each head. That equals (x QK' + qK') . e
    plus a number that is the same for every token, which the softmax cancels. So the product of
    two matrices is one matrix, and the cache needs no keys, only the tokens, which all heads and
    both attentions share. Values and output are one matrix in the same way, because the attention
    weights sum to 1.
    """
    q, k, v, out = (
        np.moveaxis(w[f"{name}/kernel"].astype(np.float64), heads, 0)
        for name, heads in (("query", 1), ("key", 1), ("value", 1), ("attention_output", 0))
    )  # (heads, width, size), the last one (heads, size, width)
    # In float64: the product is rounded once, like the weights that it is made of.
    query, output = np.concatenate(q @ k.mT, axis=1), np.concatenate(v @ out)
    query_bias = (k @ w["query/bias"][..., None]).ravel()
    output_bias = w["value/bias"].ravel() @ np.concatenate(out) + w["attention_output/bias"]
    query_layer = Linear(query.astype(np.float32), query_bias.astype(np.float32))
    output_layer = Linear(output.astype(np.float32), output_bias.astype(np.float32))
    attend = Attend(len(q), query_layer.width, mask=mask)
    mixed = graph.add(attend, INPUT, graph.add(query_layer, x), tokens)
    return graph.add(norm, graph.add(output_layer, mixed, x))


def weight_shapes(a: Architecture) -> Shapes:
    """Return the shapes of the weights of an architecture of this kind, by name."""
    return {
        **embedding_shapes(a),
        **_attention_shapes("decoder/attention_1", a),
        **_attention_shapes("decoder/attention_2", a),
        **dense_shapes("decoder/dense_1", a.width, a.dense),
        **dense_shapes("decoder/dense_2", a.dense, a.width),
        **layer_norm_shapes("decoder/layernorm_1", a.width),
        **layer_norm_shapes("decoder/layernorm_2", a.width),
        **layer_norm_shapes("decoder/layernorm_3", a.width),
        **dense_shapes("probabilities", a.width, a.vocabulary_size),
    }


def _attention_shapes(name: str, a: Architecture) -> Shapes:
    table: Shapes = {}
    for part in ("query", "key", "value"):
        table[f"{name}/{part}/kernel"] = (a.width, a.heads, a.width)
        table[f"{name}/{part}/bias"] = (a.heads, a.width)
    table[f"{name}/attention_output/kernel"] = (a.heads, a.width, a.width)
    table[f"{name}/attention_output/bias"] = (a.width,)
    return table
