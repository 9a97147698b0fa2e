"""The network `default`: pre-norm blocks and tied embeddings."""

from __future__ import annotations

from corelm.models.architectures import Architecture
from corelm.models.networks.base import Shapes, embedding_shapes
from corelm.models.networks.layers import Linear, Norm, Weights
from corelm.models.networks.pre_norm import PreNormTransformer


class Default(PreNormTransformer):
    """Pre-norm blocks without biases, RMS normalisation, squared relu and tied embeddings."""

    activation = "squared relu"

    @staticmethod
    def norm(w: Weights, name: str) -> Norm:
        return Norm(w[f"{name}/scale"])

    @staticmethod
    def dense(w: Weights, name: str, activation: str = "") -> Linear:
        return Linear(w[f"{name}/kernel"], activation=activation)


def weight_shapes(a: Architecture) -> Shapes:
    """Return the shapes of the weights of an architecture of this kind, by name."""
    table = embedding_shapes(a)
    for i in range(a.blocks):
        table |= {
            f"block_{i}/attention_norm/scale": (a.width,),
            f"block_{i}/qkv/kernel": (a.width, 3 * a.width),
            f"block_{i}/attention_out/kernel": (a.width, a.width),
            f"block_{i}/dense_norm/scale": (a.width,),
            f"block_{i}/dense_in/kernel": (a.width, a.dense),
            f"block_{i}/dense_out/kernel": (a.dense, a.width),
        }
    return table | {"norm/scale": (a.width,)}
