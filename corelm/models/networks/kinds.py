"""The kinds of networks: their layers, and the shapes of their weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.models.networks.base import INPUT, Architecture, Graph, Network, Transformer
from corelm.models.networks.layers import Attend, Embed, Ids, Linear, Norm, Weights, sigmoid, single
from corelm.numerics.distributions import Array

Shapes = dict[str, tuple[int, ...]]


def embedding_shapes(a: Architecture) -> Shapes:
    """Return the shapes of the embeddings of tokens and positions."""
    return {
        "embedding/token_embeddings/embeddings": (a.vocabulary_size, a.width),
        "embedding/position_embeddings/embeddings": (a.context_length, a.width),
    }


def dense_shapes(name: str, inputs: int, units: int) -> Shapes:
    """Return the shapes of a dense layer with a bias."""
    return {f"{name}/kernel": (inputs, units), f"{name}/bias": (units,)}


def layer_norm_shapes(name: str, width: int) -> Shapes:
    """Return the shapes of a layer normalisation."""
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}


def embedding_layer(w: Weights) -> tuple[Array, Embed]:
    """Return the token embeddings, and the layer that adds the embeddings of positions."""
    tokens = w["embedding/token_embeddings/embeddings"]
    return tokens, Embed(tokens, w["embedding/position_embeddings/embeddings"])


def dense_layer(w: Weights, name: str, activation: str = "") -> Linear:
    """Return the dense layer of a name."""
    return Linear(w[f"{name}/kernel"], w[f"{name}/bias"], activation)


def weights_below(w: Weights, name: str) -> Weights:
    """Return the weights whose names begin with `name/`, without that prefix."""
    return {k.removeprefix(name + "/"): v for k, v in w.items() if k.startswith(name + "/")}


class PreNormTransformer(Transformer):
    """Pre-norm blocks and tied embeddings; a subclass defines the norm and dense layers."""

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


class Default(PreNormTransformer):
    """Pre-norm blocks without biases, RMS normalisation, squared relu and tied embeddings."""

    activation = "squared relu"

    @staticmethod
    def norm(w: Weights, name: str) -> Norm:
        return Norm(w[f"{name}/scale"])

    @staticmethod
    def dense(w: Weights, name: str, activation: str = "") -> Linear:
        return Linear(w[f"{name}/kernel"], activation=activation)


def default_shapes(a: Architecture) -> Shapes:
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


GPT2_EPSILON = np.float32(1e-5)


class Gpt2(PreNormTransformer):
    """Pre-norm blocks with biases, layer normalisation, gelu and tied embeddings."""

    activation = "gelu"

    @staticmethod
    def norm(w: Weights, name: str) -> Norm:
        return Norm(w[f"{name}/gamma"], w[f"{name}/beta"], GPT2_EPSILON)

    dense = staticmethod(dense_layer)


def gpt2_shapes(a: Architecture) -> Shapes:
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
        """Return a mask of the padding; None if there is none."""
        if np.count_nonzero(window) == window.size:  # as at most steps
            return None
        is_token = window != 0
        if times is not None:  # nothing attends to the ids after the end of a row
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


def book_shapes(a: Architecture) -> Shapes:
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


class Recurrent(Network):
    """Gated recurrent units; the cache holds their states: (batch, blocks, context, dense)."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a.blocks, a.context_length, a.dense)
        self._tokens = single(w["embedding/embeddings"])
        self._cells = [GruCell(weights_below(w, f"gru_{i}/gru_cell")) for i in range(a.blocks)]
        self._scores = dense_layer(w, "probabilities")

    @property
    def linears(self) -> Iterable[Linear]:
        return [*(linear for cell in self._cells for linear in cell.linears), self._scores]

    def process(self, window: Ids, new: int, cache: Array, times: Ids | None = None) -> Array:
        rows = np.arange(len(window))
        ends = np.full(len(window), window.shape[1]) if times is None else times
        outputs = np.empty((len(window), new, cache.shape[-1]), dtype=np.float32)
        for j in range(new):
            # The cache has a state for each token, not only the last, so that it can be rewound.
            t = ends - new + j
            ids, is_first = window[rows, t, None, None], (t == 0)[:, None, None]
            x = self._tokens.take(ids[..., 0], axis=0)  # (batch, 1, width)
            for i, cell in enumerate(self._cells):
                before = cache[rows, i, t - 1, None]  # (batch, 1, dense)
                state = np.where(is_first, np.float32(0), before)
                x = np.where(ids != 0, cell(x, state), state)  # padding changes nothing
                cache[rows, i, t] = x[:, 0]
            outputs[:, j : j + 1] = x
        return outputs


class GruCell:
    """One gated recurrent unit, with its reset gate after the product, as in Keras."""

    def __init__(self, w: Weights) -> None:
        self._from_input = Linear(w["kernel"], w["bias"][0])
        self._from_state = Linear(w["recurrent_kernel"], w["bias"][1])
        self.linears = (self._from_input, self._from_state)

    def __call__(self, x: Array, state: Array) -> Array:
        """Return the next state: (batch, 1, width) and (batch, 1, dense) to (batch, 1, dense)."""
        dense = state.shape[-1]
        inputs, states = self._from_input(x), self._from_state(state)  # (batch, 1, 3 * dense)
        gates = sigmoid(inputs[..., : 2 * dense] + states[..., : 2 * dense])
        update, reset = gates[..., :dense], gates[..., dense:]
        candidate = np.tanh(inputs[..., 2 * dense :] + reset * states[..., 2 * dense :])
        mixed: Array = update * state + (1 - update) * candidate
        return mixed


def rnn_shapes(a: Architecture) -> Shapes:
    """Return the shapes of the weights of an architecture of this kind, by name."""
    table: Shapes = {"embedding/embeddings": (a.vocabulary_size, a.width)}
    for i in range(a.blocks):
        table |= {
            f"gru_{i}/gru_cell/kernel": (a.dense if i else a.width, 3 * a.dense),
            f"gru_{i}/gru_cell/recurrent_kernel": (a.dense, 3 * a.dense),
            f"gru_{i}/gru_cell/bias": (2, 3 * a.dense),
        }
    return table | dense_shapes("probabilities", a.dense, a.vocabulary_size)


NETWORKS: Mapping[str, Callable[[Architecture, Weights], Network]] = {
    "book": Book,
    "default": Default,
    "gpt2": Gpt2,
    "rnn": Recurrent,
}
"""The network of each kind."""

WEIGHT_SHAPES: Mapping[str, Callable[[Architecture], Shapes]] = {
    "book": book_shapes,
    "default": default_shapes,
    "gpt2": gpt2_shapes,
    "rnn": rnn_shapes,
}
"""The shapes of the weights of each kind."""
