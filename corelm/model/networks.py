"""The networks of `architecture.py` without Keras, a few tokens at a time, with a memory."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.model.graph import GIVEN, Graph, plan
from corelm.model.layers import Attend, Embed, Linear, Matrix, Norm, Reading, Weights, sigmoid
from corelm.model.presets import Architecture
from corelm.numerics.distributions import Array

Ids = NDArray[np.int64]


class Ahead(NamedTuple):
    """Reading under way: what comes of it, once it was waited for."""

    run: Any
    outputs: Array
    logits: Array

    def wait(self) -> None:
        """Until the arrays hold it; helps meanwhile."""
        native.kernels.wait(self.run)


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

    def advance(self, window: Ids, new: int, memory: Array, asked: int) -> tuple[Array, Array]:
        """Read as `read` does; also returns the logits after the last tokens that are asked for.

        Returns:
            (batch, new, width) and (batch, asked, vocabulary).
        """
        outputs = self.read(window, new, memory)
        return outputs, self.logits(self.hidden(outputs[:, new - asked :]))

    def begin(self, window: Ids, new: int, memory: Array, asked: int) -> Ahead | None:
        """Have another thread do what `advance` does; None where that cannot be."""
        return None

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
    """A network that remembers what its attentions look at, in graphs of layers.

    Args:
        remembered: the shape of what it remembers of a row, as in `Reading`.
        reads: from what is read to (batch, new, width).
        hidden: from there to the last hidden states.
        scores: from these to the scores of the next token.
    """

    def __init__(
        self, remembered: tuple[int, ...], reads: Graph, hidden: Graph, scores: Linear
    ) -> None:
        super().__init__(*remembered)
        self._reads, self._hidden, self._scores = reads, hidden, scores
        head = hidden.then(scores)
        self._layers, self._width = reads.layers + head.layers, reads.layers[-1].width
        self._plan = plan(reads, head)

    @property
    def linears(self) -> Iterable[Linear]:
        return [layer for layer in self._layers if isinstance(layer, Linear)]

    def read(self, window: Ids, new: int, memory: Array) -> Array:
        if self._plan:
            return self.advance(window, new, memory, 0)[0]
        return self._reads(Reading(window, new, memory, self._seen(window, new)))

    def hidden(self, outputs: Array) -> Array:
        return self._hidden(np.ascontiguousarray(outputs))

    def advance(self, window: Ids, new: int, memory: Array, asked: int) -> tuple[Array, Array]:
        if not self._plan:
            return super().advance(window, new, memory, asked)
        outputs, logits = self._room(len(window), new, asked)
        seen = self._seen(window, new)
        native.kernels.run(self._plan, window, memory, seen, outputs, logits)
        return outputs, logits

    def begin(self, window: Ids, new: int, memory: Array, asked: int) -> Ahead | None:
        if not self._plan:
            return None
        outputs, logits = self._room(len(window), new, asked)
        seen = self._seen(window, new)
        run = native.kernels.begin(self._plan, window, memory, seen, outputs, logits)
        return Ahead(run, outputs, logits)

    def _room(self, batch: int, new: int, asked: int) -> tuple[Array, Array]:
        outputs = np.empty((batch, new, self._width), dtype=np.float32)
        return outputs, np.empty((batch, asked, self._scores.width), dtype=np.float32)

    def _seen(self, window: Ids, new: int) -> NDArray[np.bool_] | None:
        """What the new tokens may look at: (masks, batch, new, time), or none, which is all."""
        return None


class Default(Transformer):
    """Pre-norm blocks and tied embeddings."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        reads, hidden = Graph(), Graph(a.width)
        tokens, embed = _embedding(w)
        x = reads.add(embed, GIVEN)
        for i in range(a.blocks):
            block = _below(w, f"block_{i}")
            x = pre_norm_block(
                reads,
                x,
                Attend(a.heads, a.width, part=i),
                norms=[Norm(block[f"{name}_norm/scale"]) for name in ("attention", "dense")],
                qkv=Linear(block["qkv/kernel"]),
                attention_out=Linear(block["attention_out/kernel"]),
                dense_in=Linear(block["dense_in/kernel"], activation="squared relu"),
                dense_out=Linear(block["dense_out/kernel"]),
            )
        hidden.add(Norm(w["norm/scale"]), GIVEN)
        size = a.width // a.heads
        remembered = (a.blocks, 2, a.heads, a.context_length, size)
        super().__init__(remembered, reads, hidden, Linear(tokens.T))


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
    """Normalise, attend, add; normalise, dense, dense, add. Returns what comes out, by number."""
    mixed = graph.add(attend, GIVEN, graph.add(qkv, graph.add(norms[0], x)))
    x = graph.add(attention_out, mixed, x)
    return graph.add(dense_out, graph.add(dense_in, graph.add(norms[1], x)), x)


class Book(Transformer):
    """The chapter's decoder: attention over the embeddings twice, then dense."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        layers = _below(w, "decoder")
        norms = [_below(layers, f"layernorm_{i}") for i in (1, 2, 3)]
        norm_1, norm_2, norm_3 = (Norm(norm["gamma"], norm["beta"]) for norm in norms)
        reads, hidden = Graph(), Graph(a.width)
        embedded = reads.add(_embedding(w)[1], GIVEN)
        x = _attention(reads, embedded, embedded, _below(layers, "attention_1"), norm_1, mask=0)
        _attention(reads, x, embedded, _below(layers, "attention_2"), norm_2, mask=1)
        inner = hidden.add(_dense(layers, "dense_1", activation="relu"), GIVEN)
        hidden.add(norm_3, hidden.add(_dense(layers, "dense_2"), inner, GIVEN))
        remembered = (1, 1, 1, a.context_length, a.width)  # by both attentions
        super().__init__(remembered, reads, hidden, _dense(w, "probabilities"))

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


def _embedding(w: Weights) -> tuple[Array, Embed]:
    """The embeddings of tokens, and the layer that adds those of places."""
    tokens = w["embedding/token_embeddings/embeddings"]
    return tokens, Embed(tokens, w["embedding/position_embeddings/embeddings"])


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
