"""The network `default`: pre-norm blocks and tied embeddings."""

from __future__ import annotations

from collections.abc import Sequence

from corelm.model.architectures import Architecture
from corelm.model.networks.base import Transformer, embedding_layer, weights_below
from corelm.model.networks.graph import INPUT, Graph
from corelm.model.networks.layers import Attend, Linear, Norm, Weights
from corelm.model.networks.shapes import Shapes, embedding_shapes


class Default(Transformer):
    """Pre-norm blocks and tied embeddings."""

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
                norms=[Norm(block[f"{name}_norm/scale"]) for name in ("attention", "dense")],
                qkv=Linear(block["qkv/kernel"]),
                attention_out=Linear(block["attention_out/kernel"]),
                dense_in=Linear(block["dense_in/kernel"], activation="squared relu"),
                dense_out=Linear(block["dense_out/kernel"]),
            )
        hidden.add(Norm(w["norm/scale"]), INPUT)
        size = a.width // a.heads
        cache_shape = (a.blocks, 2, a.heads, a.context_length, size)
        super().__init__(cache_shape, body, hidden, Linear(tokens.T))


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
