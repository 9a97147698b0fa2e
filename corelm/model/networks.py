"""The networks of `architecture.py` without Keras, a few tokens at a time, with a memory."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.distributions import Array
from corelm.model.layers import (
    Linear,
    Matrix,
    Norm,
    PreNormBlock,
    PreNormBlocks,
    Weights,
    attend,
    embed,
    sigmoid,
)
from corelm.model.presets import Architecture

Ids = NDArray[np.int64]


class Network(ABC):
    """A network that reads tokens and remembers them.

    Args:
        remembered: the shape of what it remembers of a row; the last axis but one is the time,
            so that the memory of a text is that of its beginning, and more.
    """

    _scores: Linear

    def __init__(self, *remembered: int) -> None:
        self._remembered = remembered

    def memory(self, batch: int) -> Array:
        """Room for what it remembers: (batch, ..., context, size)."""
        return np.empty((batch, *self._remembered), dtype=np.float32)

    def select(self, memory: Array, rows: Ids, time: int) -> Array:
        """The memory of these rows, in this order, after `time` tokens of each; is changed."""
        only_dropped = bool((np.diff(rows) > 0).all())
        kept = memory[: len(rows)] if only_dropped else self.memory(len(rows))
        for to, row in enumerate(rows):  # where rows were only dropped, the others move up
            if to != row or not only_dropped:
                kept[to, ..., :time, :] = memory[row, ..., :time, :]
        return kept

    @abstractmethod
    def read(self, window: Ids, new: int, memory: Array) -> Array:
        """Read the last `new` tokens of each row; the earlier ones are in the memory.

        Args:
            window: (batch, time) ids.
            new: how many of them to read, at least 1.
            memory: (batch, ..., context, size); is changed.

        Returns:
            (batch, new, width): what comes out for each of them, for `hidden`.
        """

    def hidden(self, outputs: Array) -> Array:
        """The last hidden states that outputs lead to: (batch, new, width) to the same."""
        return outputs

    @property
    @abstractmethod
    def linears(self) -> Iterable[Linear]:
        """The layers that multiply every new token with a matrix, in this order."""

    @property
    def matrices(self) -> list[Matrix]:
        """What every new token is multiplied with."""
        return [linear.matrix for linear in self.linears]

    def logits(self, hidden: Array) -> Array:
        """The scores of the next token: (batch, new, width) to (batch, new, vocabulary)."""
        return self._scores(hidden)


class Transformer(Network):
    """A network that remembers what its attentions look at: keys and values by default."""

    def __init__(
        self, a: Architecture, w: Weights, attentions: int, heads: int, size: int, planes: int = 2
    ) -> None:
        super().__init__(attentions, planes, heads, a.context_length, size)
        self._tokens = w["embedding/token_embeddings/embeddings"]
        self._positions = w["embedding/position_embeddings/embeddings"]

    def _embed(self, window: Ids, new: int) -> Array:
        return embed(self._tokens, self._positions, window, new)


class Default(Transformer):
    """Pre-norm blocks and tied embeddings."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a, w, a.blocks, a.heads, a.width // a.heads)
        blocks = (_pre_norm_block(_below(w, f"block_{i}")) for i in range(a.blocks))
        self._blocks = PreNormBlocks(blocks)
        self._norm = Norm(w["norm/scale"])
        self._scores = Linear(self._tokens.T)

    @property
    def linears(self) -> Iterable[Linear]:
        return [*self._blocks.linears, self._scores]

    def read(self, window: Ids, new: int, memory: Array) -> Array:
        return self._blocks(self._embed(window, new), memory, window.shape[1])

    def hidden(self, outputs: Array) -> Array:
        return self._norm(outputs)


class Book(Transformer):
    """The chapter's decoder: attention over the embeddings twice, then dense."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a, w, attentions=1, heads=1, size=a.width, planes=1)  # of both
        layers = _below(w, "decoder")
        norms = [_below(layers, f"layernorm_{i}") for i in (1, 2, 3)]
        norm_1, norm_2, self._norm = (Norm(norm["gamma"], norm["beta"]) for norm in norms)
        self._attention_1 = Attention(_below(layers, "attention_1"), norm_1)
        self._attention_2 = Attention(_below(layers, "attention_2"), norm_2)
        self._dense_1 = _dense(layers, "dense_1", activation="relu")
        self._dense_2 = _dense(layers, "dense_2")
        self._scores = _dense(w, "probabilities")

    @property
    def linears(self) -> Iterable[Linear]:
        attentions = self._attention_1.linears + self._attention_2.linears
        return [*attentions, self._dense_1, self._dense_2, self._scores]

    def read(self, window: Ids, new: int, memory: Array) -> Array:
        cache, time, (seen_1, seen_2) = memory[:, 0], window.shape[1], _seen(window, new)
        embedded = self._embed(window, new)  # (batch, new, width)
        x = self._attention_1(embedded, embedded, cache, time, seen_1)
        return self._attention_2(x, embedded, cache, time, seen_2)

    def hidden(self, outputs: Array) -> Array:
        outputs = np.ascontiguousarray(outputs)
        return self._norm(self._dense_2(self._dense_1(outputs), add=outputs))


def _seen(window: Ids, new: int) -> tuple[Array | None, Array | None]:
    """What the new tokens may look at in each attention, (batch, new, time): not at padding."""
    if np.count_nonzero(window) == window.size:
        return None, None
    seen = np.repeat((window != 0)[:, None], new, axis=1)
    # Keras masks the queries of the first attention too: padding looks at everything.
    return seen & seen[:, 0, -new:, None], seen


class Attention:
    """Keras's MultiHeadAttention, and what went in, normalised: (batch, new, width) to the same.

    Keras looks at a token e with (x Q + q) . (e K + k) in each head. That is (x QK' + qK') . e,
    and a number that is the same for every token, which changes no weight. So two matrices are
    one, and no keys need be kept, only the tokens, which both heads and both attentions share. In
    the same way values and output are one matrix, for weights sum to 1.
    """

    def __init__(self, w: Weights, norm: Norm) -> None:
        q, k, v, out = (
            np.moveaxis(w[f"{name}/kernel"].astype(np.float64), heads, 0)
            for name, heads in (("query", 1), ("key", 1), ("value", 1), ("attention_output", 0))
        )  # (heads, width, size), the last one (heads, size, width)
        query, output = np.concatenate(q @ k.mT, axis=1), np.concatenate(v @ out)
        query_bias = (k @ w["query/bias"][..., None]).ravel()
        output_bias = w["value/bias"].ravel() @ np.concatenate(out) + w["attention_output/bias"]
        self._query = Linear(query.astype(np.float32), query_bias.astype(np.float32))
        self._output = Linear(output.astype(np.float32), output_bias.astype(np.float32))
        self._norm, self.linears = norm, (self._query, self._output)
        parts = (*self.linears, norm)
        self._arrays = tuple(part.arrays for part in parts) if native.kernels else None

    def __call__(
        self, x: Array, tokens: Array, cache: Array, time: int, seen: Array | None
    ) -> Array:
        if self._arrays:  # the same in one call
            out, inner = np.empty_like(x), self._query.matrix.units
            native.kernels.look(x, tokens, cache, time, seen, inner, self._arrays, out)
            return out
        mixed = attend(self._query(x), tokens, None, cache, time, seen)
        return self._norm(self._output(mixed, add=x))


class Recurrent(Network):
    """Gated recurrent units, which remember their states: (batch, blocks, context, dense)."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a.blocks, a.context_length, a.dense)
        self._tokens = w["embedding/embeddings"]
        self._cells = [GruCell(_below(w, f"gru_{i}/gru_cell")) for i in range(a.blocks)]
        self._scores = _dense(w, "probabilities")

    @property
    def linears(self) -> Iterable[Linear]:
        return [*(linear for cell in self._cells for linear in cell.linears), self._scores]

    def read(self, window: Ids, new: int, memory: Array) -> Array:
        time = window.shape[1]
        for t in range(time - new, time):
            ids = window[:, t : t + 1]
            x = self._tokens.take(ids, axis=0)  # (batch, 1, width)
            for i, cell in enumerate(self._cells):
                before = memory[:, i, t - 1 : t]  # (batch, 1, dense)
                state = before if t else np.zeros_like(memory[:, i, :1])
                x = np.where(ids[..., None] != 0, cell(x, state), state)  # padding changes nothing
                memory[:, i, t : t + 1] = x
        return memory[:, -1, time - new : time].copy()


class GruCell:
    """One gated recurrent unit, its reset gate after the product, as in Keras."""

    def __init__(self, w: Weights) -> None:
        self._given = Linear(w["kernel"], w["bias"][0])
        self._kept = Linear(w["recurrent_kernel"], w["bias"][1])
        self.linears = (self._given, self._kept)

    def __call__(self, x: Array, state: Array) -> Array:
        dense = state.shape[-1]
        given, kept = self._given(x), self._kept(state)  # (batch, 1, 3 * dense)
        gates = sigmoid(given[..., : 2 * dense] + kept[..., : 2 * dense])
        update, reset = gates[..., :dense], gates[..., dense:]
        candidate = np.tanh(given[..., 2 * dense :] + reset * kept[..., 2 * dense :])
        mixed: Array = update * state + (1 - update) * candidate
        return mixed


def _pre_norm_block(w: Weights) -> PreNormBlock:
    return PreNormBlock(
        Norm(w["attention_norm/scale"]),
        Linear(w["qkv/kernel"]),
        Linear(w["attention_out/kernel"]),
        Norm(w["dense_norm/scale"]),
        Linear(w["dense_in/kernel"], activation="squared relu"),
        Linear(w["dense_out/kernel"]),
    )


def _dense(w: Weights, *names: str, inputs: int = 1, activation: str = "") -> Linear:
    """Keras dense layers side by side; the first `inputs` axes of a kernel are what goes in."""
    kernels = [w[f"{name}/kernel"] for name in names]
    flat = [kernel.reshape(math.prod(kernel.shape[:inputs]), -1) for kernel in kernels]
    biases = [w[f"{name}/bias"].ravel() for name in names]
    return Linear(np.concatenate(flat, axis=1), np.concatenate(biases), activation)


def _below(w: Weights, name: str) -> Weights:
    """The weights below a name, without it."""
    return {k.removeprefix(name + "/"): v for k, v in w.items() if k.startswith(name + "/")}


NETWORKS: Mapping[str, Callable[[Architecture, Weights], Network]] = {
    "book": Book,
    "default": Default,
    "rnn": Recurrent,
}
