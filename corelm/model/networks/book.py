"""The network `book`: the decoder of the chapter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm.model.architectures import Architecture
from corelm.model.networks.base import Ids, Transformer, dense_layer, embedding_layer, weights_below
from corelm.model.networks.graph import GIVEN, Graph
from corelm.model.networks.layers import Attend, Linear, Norm, Weights
from corelm.model.networks.shapes import Shapes, dense_shapes, embedding_shapes, layer_norm_shapes


class Book(Transformer):
    """The chapter's decoder: attention over the embeddings twice, then dense."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        layers = weights_below(w, "decoder")
        norms = [weights_below(layers, f"layernorm_{i}") for i in (1, 2, 3)]
        norm_1, norm_2, norm_3 = (Norm(norm["gamma"], norm["beta"]) for norm in norms)
        reads, hidden = Graph(), Graph(a.width)
        embedded = reads.add(embedding_layer(w)[1], GIVEN)
        x = _attention(
            reads, embedded, embedded, weights_below(layers, "attention_1"), norm_1, mask=0
        )
        _attention(reads, x, embedded, weights_below(layers, "attention_2"), norm_2, mask=1)
        inner = hidden.add(dense_layer(layers, "dense_1", activation="relu"), GIVEN)
        hidden.add(norm_3, hidden.add(dense_layer(layers, "dense_2"), inner, GIVEN))
        remembered = (1, 1, 1, a.context_length, a.width)  # by both attentions
        super().__init__(remembered, reads, hidden, dense_layer(w, "probabilities"))

    def _seen(self, window: Ids, new: int) -> NDArray[np.bool_] | None:
        """Not padding."""
        if np.count_nonzero(window) == window.size:
            return None
        seen = np.repeat((window != 0)[:, None], new, axis=1)
        # Keras masks the queries of the first attention too: padding looks at everything.
        return np.stack([seen & seen[:, 0, -new:, None], seen])


def _attention(graph: Graph, x: int, tokens: int, w: Weights, norm: Norm, mask: int) -> int:
    """Keras's MultiHeadAttention, and what went in, normalised; returns what comes out.

    Keras looks at a token e with (x Q + q) . (e K + k) in each head. That is (x QK' + qK') . e,
    and a number that is the same for every token, which changes no weight. So two matrices are
    one, and no keys need be kept, only the tokens, which both heads and both attentions share. In
    the same way values and output are one matrix, for weights sum to 1.
    """
    q, k, v, out = (
        np.moveaxis(w[f"{name}/kernel"].astype(np.float64), heads, 0)
        for name, heads in (("query", 1), ("key", 1), ("value", 1), ("attention_output", 0))
    )  # (heads, width, size), the last one (heads, size, width)
    query, output = np.concatenate(q @ k.mT, axis=1), np.concatenate(v @ out)
    query_bias = (k @ w["query/bias"][..., None]).ravel()
    output_bias = w["value/bias"].ravel() @ np.concatenate(out) + w["attention_output/bias"]
    looks = Linear(query.astype(np.float32), query_bias.astype(np.float32))
    answers = Linear(output.astype(np.float32), output_bias.astype(np.float32))
    attend = Attend(len(q), looks.width, mask=mask)
    mixed = graph.add(attend, GIVEN, graph.add(looks, x), tokens)
    return graph.add(norm, graph.add(answers, mixed, x))


def weight_shapes(a: Architecture) -> Shapes:
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
