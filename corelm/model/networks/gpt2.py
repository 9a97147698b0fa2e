"""The network `gpt2`: the architecture of GPT-2 (Radford et al. 2019)."""

from __future__ import annotations

import numpy as np

from corelm.model.architectures import Architecture
from corelm.model.networks.base import Transformer, dense_layer, embedding_layer, weights_below
from corelm.model.networks.default import pre_norm_block
from corelm.model.networks.graph import INPUT, Graph
from corelm.model.networks.layers import Attend, Linear, Norm, Weights
from corelm.model.networks.shapes import Shapes, dense_shapes, embedding_shapes, layer_norm_shapes

EPSILON = np.float32(1e-5)


class Gpt2(Transformer):
    """Pre-norm blocks with biases, layer normalisation, gelu and tied embeddings."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        body, hidden = Graph(), Graph(a.width)
        tokens, embed = embedding_layer(w)
        x = body.add(embed, INPUT)
        for i in range(a.blocks):
            block = weights_below(w, f"block_{i}")
            x = pre_norm_block(
                body,
                x,
                Attend(a.heads, a.width, layer=i),
                norms=[_norm(block, f"{name}_norm") for name in ("attention", "dense")],
                qkv=dense_layer(block, "qkv"),
                attention_out=dense_layer(block, "attention_out"),
                dense_in=dense_layer(block, "dense_in", activation="gelu"),
                dense_out=dense_layer(block, "dense_out"),
            )
        hidden.add(_norm(w, "norm"), INPUT)
        cache_shape = (a.blocks, 2, a.heads, a.context_length, a.width // a.heads)
        super().__init__(cache_shape, body, hidden, Linear(tokens.T))


def _norm(w: Weights, name: str) -> Norm:
    return Norm(w[f"{name}/gamma"], w[f"{name}/beta"], EPSILON)


def weight_shapes(a: Architecture) -> Shapes:
    """Return the shapes of the weights of an architecture of this kind, by name."""
    table = embedding_shapes(a)
    for i in range(a.blocks):
        table |= {
            **layer_norm_shapes(f"block_{i}/attention_norm", a.width),
            **dense_shapes(f"block_{i}/qkv", a.width, 3 * a.width),
            **dense_shapes(f"block_{i}/attention_out", a.width, a.width),
            **layer_norm_shapes(f"block_{i}/dense_norm", a.width),
            **dense_shapes(f"block_{i}/dense_in", a.width, a.dense),
            **dense_shapes(f"block_{i}/dense_out", a.dense, a.width),
        }
    return table | layer_norm_shapes("norm", a.width)
