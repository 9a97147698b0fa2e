"""The network `gpt2`: the architecture of GPT-2 (Radford et al. 2019)."""

from __future__ import annotations

import numpy as np

from corelm.models.architectures import Architecture
from corelm.models.networks.base import (
    Shapes,
    dense_layer,
    dense_shapes,
    embedding_shapes,
    layer_norm_shapes,
)
from corelm.models.networks.layers import Linear, Norm, Weights
from corelm.models.networks.pre_norm import PreNormTransformer

EPSILON = np.float32(1e-5)


class Gpt2(PreNormTransformer):
    """Pre-norm blocks with biases, layer normalisation, gelu and tied embeddings."""

    activation = "gelu"

    @staticmethod
    def norm(w: Weights, name: str) -> Norm:
        return Norm(w[f"{name}/gamma"], w[f"{name}/beta"], EPSILON)

    @staticmethod
    def dense(w: Weights, name: str, activation: str = "") -> Linear:
        return dense_layer(w, name, activation=activation)


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
