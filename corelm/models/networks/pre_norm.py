"""The parts that `default` and `gpt2` share: pre-norm blocks and tied embeddings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from corelm.models.architectures import Architecture
from corelm.models.networks.base import Transformer, embedding_layer, weights_below
from corelm.models.networks.graph import INPUT, Graph
from corelm.models.networks.layers import Attend, Linear, Norm, Weights


class PreNormTransformer(Transformer):
    """Pre-norm blocks and tied embeddings; a subclass makes the layers."""

    activation: str

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
                norms=[self.norm(block, f"{name}_norm") for name in ("attention", "dense")],
                qkv=self.dense(block, "qkv"),
                attention_out=self.dense(block, "attention_out"),
                dense_in=self.dense(block, "dense_in", self.activation),
                dense_out=self.dense(block, "dense_out"),
            )
        hidden.add(self.norm(w, "norm"), INPUT)
        cache_shape = (a.blocks, 2, a.heads, a.context_length, a.width // a.heads)
        super().__init__(cache_shape, body, hidden, Linear(tokens.T))  # tied embeddings

    @staticmethod
    @abstractmethod
    def norm(w: Weights, name: str) -> Norm:
        """Return the normalisation whose weights begin with a name."""

    @staticmethod
    @abstractmethod
    def dense(w: Weights, name: str, activation: str = "") -> Linear:
        """Return the dense layer whose weights begin with a name."""


def pre_norm_block(
    graph: Graph,
    x: int,
    attend: Attend,
    *,
    norms: Sequence[Norm],
    qkv: Linear,
    attention_out: Linear,
    dense_in: Linear,
    dense_out: Linear,
) -> int:
    """Add a block: normalise, attend, add; normalise, dense, dense, add. Return its output."""
    mixed = graph.add(attend, INPUT, graph.add(qkv, graph.add(norms[0], x)))
    x = graph.add(attention_out, mixed, x)
    return graph.add(dense_out, graph.add(dense_in, graph.add(norms[1], x)), x)
