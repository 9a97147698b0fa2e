"""The networks of `architecture.py` in plain NumPy, a few tokens at a time, with a memory.

What comes out for a token is the same to the last bit whether it is read alone or with others,
in whichever batch. BLAS rounds the product of two matrices unlike that of a vector and a matrix,
and unlike itself with other shapes. So every token is a vector by itself here: `np.matmul` of
(..., 1, in) and (in, out) makes a BLAS call for each.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from corelm.distributions import Array
from corelm.model.presets import Architecture
from corelm.threads import spread

Weights = Mapping[str, NDArray[np.float32]]
Ids = NDArray[np.int64]

EPSILON = np.float32(1e-6)
NEVER = np.float32(-1e9)

CACHED = 2**16
"""Weights in one block of columns: 256 KiB, which a core's own cache holds."""

WORTH = 2**23
"""Multiplications that are worth another core."""


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
        """The memory of these rows, in this order, after `time` tokens of each."""
        kept = self.memory(len(rows))
        kept[..., :time, :] = memory[..., :time, :][rows]
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

    def logits(self, hidden: Array) -> Array:
        """The scores of the next token: (batch, new, width) to (batch, new, vocabulary)."""
        return self._scores(hidden)


class Transformer(Network):
    """A network that remembers the keys and values of its attentions."""

    def __init__(self, a: Architecture, w: Weights, attentions: int, size: int) -> None:
        super().__init__(attentions, 2, a.heads, a.context_length, size)
        self._tokens = w["embedding/token_embeddings/embeddings"]
        self._positions = w["embedding/position_embeddings/embeddings"]

    def _embed(self, window: Ids, new: int) -> Array:
        time = window.shape[1]
        tokens = self._tokens.take(window[:, time - new :], axis=0)
        return tokens + self._positions[time - new : time]  # (batch, new, width)


class Default(Transformer):
    """Pre-norm blocks and tied embeddings."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a, w, attentions=a.blocks, size=a.width // a.heads)
        self._blocks = [PreNormBlock(_below(w, f"block_{i}")) for i in range(a.blocks)]
        self._norm = w["norm/scale"]
        self._scores = Linear(self._tokens.T)

    def read(self, window: Ids, new: int, memory: Array) -> Array:
        x = self._embed(window, new)  # (batch, new, width)
        for i, block in enumerate(self._blocks):
            x = block(x, memory[:, i], window.shape[1])
        return x

    def hidden(self, outputs: Array) -> Array:
        return rms_norm(outputs, self._norm)


class PreNormBlock:
    """Normalise, attend, add; normalise, dense, add: (batch, new, width) to the same."""

    def __init__(self, w: Weights) -> None:
        self._attention_norm, self._dense_norm = w["attention_norm/scale"], w["dense_norm/scale"]
        self._qkv, self._attention_out = Linear(w["qkv/kernel"]), Linear(w["attention_out/kernel"])
        self._dense_in, self._dense_out = (
            Linear(w["dense_in/kernel"]),
            Linear(w["dense_out/kernel"]),
        )

    def __call__(self, x: Array, cache: Array, time: int) -> Array:
        width = x.shape[-1]
        qkv = self._qkv(rms_norm(x, self._attention_norm))  # (batch, new, 3 * width)
        query, key, value = qkv[..., :width], qkv[..., width:-width], qkv[..., -width:]
        x = x + self._attention_out(attend(query, key, value, cache, time))
        hidden = np.maximum(self._dense_in(rms_norm(x, self._dense_norm)), 0)
        return x + self._dense_out(hidden * hidden)


class Book(Transformer):
    """The chapter's decoder: attention over the embeddings twice, then dense."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a, w, attentions=2, size=a.width)
        layers = _below(w, "decoder")
        self._attention_1 = Attention(_below(layers, "attention_1"))
        self._attention_2 = Attention(_below(layers, "attention_2"))
        self._dense_1, self._dense_2 = _dense(layers, "dense_1"), _dense(layers, "dense_2")
        self._norms = [_below(layers, f"layernorm_{i}") for i in (1, 2, 3)]
        self._scores = _dense(w, "probabilities")

    def read(self, window: Ids, new: int, memory: Array) -> Array:
        seen_2 = np.repeat((window != 0)[:, None], new, axis=1)  # (batch, new, time)
        # Keras masks the queries of the first attention too: padding looks at everything.
        seen_1 = seen_2 & seen_2[:, 0, -new:, None]
        embedded = self._embed(window, new)  # (batch, new, width)
        x = self._attention_1(embedded, embedded, memory[:, 0], seen_1)
        x1 = layer_norm(embedded + x, self._norms[0])
        x = self._attention_2(x1, embedded, memory[:, 1], seen_2)
        return layer_norm(x1 + x, self._norms[1])

    def hidden(self, outputs: Array) -> Array:
        dense = self._dense_2(np.maximum(self._dense_1(outputs), 0))
        return layer_norm(outputs + dense, self._norms[2])


class Attention:
    """Keras's MultiHeadAttention: (batch, new, width) to the same."""

    def __init__(self, w: Weights) -> None:
        self._query, self._key, self._value = (_dense(w, n) for n in ("query", "key", "value"))
        self._output = _dense(w, "attention_output", inputs=2)

    def __call__(self, x: Array, source: Array, cache: Array, seen: Array) -> Array:
        query, key, value = self._query(x), self._key(source), self._value(source)
        return self._output(attend(query, key, value, cache, seen.shape[-1], seen))


class Recurrent(Network):
    """Gated recurrent units, which remember their states: (batch, blocks, context, dense)."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a.blocks, a.context_length, a.dense)
        self._tokens = w["embedding/embeddings"]
        self._cells = [GruCell(_below(w, f"gru_{i}/gru_cell")) for i in range(a.blocks)]
        self._scores = _dense(w, "probabilities")

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

    def __call__(self, x: Array, state: Array) -> Array:
        dense = state.shape[-1]
        given, kept = self._given(x), self._kept(state)  # (batch, 1, 3 * dense)
        gates = sigmoid(given[..., : 2 * dense] + kept[..., : 2 * dense])
        update, reset = gates[..., :dense], gates[..., dense:]
        candidate = np.tanh(given[..., 2 * dense :] + reset * kept[..., 2 * dense :])
        mixed: Array = update * state + (1 - update) * candidate
        return mixed


def attend(
    query: Array, key: Array, value: Array, cache: Array, time: int, seen: Array | None = None
) -> Array:
    """Let each new token look at itself and at those before it.

    Args:
        query, key, value: (batch, new, heads * size).
        cache: (batch, 2, heads, context, size); the new keys and values go into it.
        time: tokens in the window, the new ones among them.
        seen: (batch, new, time), False where a token must not look; none means it may.

    Returns:
        (batch, new, heads * size)
    """
    batch, new, _ = query.shape
    heads, size = cache.shape[2], cache.shape[4]
    split, before = (batch, new, heads, size), time - new
    cache[:, 0, :, before:time] = key.reshape(split).swapaxes(1, 2)
    cache[:, 1, :, before:time] = value.reshape(split).swapaxes(1, 2)
    queries = query.reshape(split)[..., None, :] * np.float32(size**-0.5)
    mixed = np.empty((batch, new, heads, 1, size), dtype=np.float32)
    for i in range(new):
        past = cache[..., : before + i + 1, :]  # (batch, 2, heads, past, size)
        scores = queries[:, i] @ past[:, 0].swapaxes(2, 3)  # (batch, heads, 1, past)
        if seen is not None:
            scores = np.where(seen[:, i, None, None, : before + i + 1], scores, NEVER)
        np.matmul(_softmax(scores), past[:, 1], out=mixed[:, i])
    return mixed.reshape(batch, new, heads * size)


def _softmax(scores: Array) -> Array:
    """In place, over the last axis."""
    scores -= np.maximum.reduce(scores, axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, axis=-1, keepdims=True)
    return scores


def rms_norm(x: Array, scale: Array) -> Array:
    """Divide by the root mean square, (..., width) to the same."""
    mean: Array = np.vecdot(x, x)[..., None] / np.float32(x.shape[-1])
    return x / np.sqrt(mean + EPSILON) * scale


def layer_norm(x: Array, w: Weights) -> Array:
    """Mean 0 and variance 1, (..., width) to the same."""
    width = np.float32(x.shape[-1])
    centred = x - np.add.reduce(x, axis=-1, keepdims=True) / width
    variance: Array = np.vecdot(centred, centred)[..., None] / width
    return centred / np.sqrt(variance + EPSILON) * w["gamma"] + w["beta"]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), which does not overflow."""
    return np.tanh(x / 2) / 2 + np.float32(0.5)


class Linear:
    """x @ kernel + bias for each token by itself: (batch, new, in) to (batch, new, out).

    Several tokens meet one block of columns after the other, each block while it is cached. A
    token alone takes them all at once, so that BLAS can use every core; but only where that gives
    the same bits, which depends on the BLAS and is tried.
    """

    def __init__(self, kernel: Array, bias: Array | None = None) -> None:
        inputs, self._units = kernel.shape
        columns = np.ascontiguousarray(kernel.T)  # (out, in): tied embeddings are not copied
        step = max(CACHED // inputs, 1)
        starts = range(0, self._units, step)
        self._blocks = [(slice(i, i + step), columns[i : i + step].T) for i in starts]
        self._whole = columns.T
        self._bias = bias
        probe = np.random.default_rng(0).random((1, 1, inputs), dtype=np.float32)
        self._same_bits = np.array_equal(probe @ self._whole, self._by_blocks(probe))

    def __call__(self, x: Array) -> Array:
        alone = self._same_bits and x.shape[0] == x.shape[1] == 1
        y: Array = x @ self._whole if alone else self._by_blocks(x)
        if self._bias is not None:
            y += self._bias
        return y

    def _by_blocks(self, x: Array) -> Array:
        y = np.empty((*x.shape[:-1], 1, self._units), dtype=np.float32)
        tokens = x[..., None, :]  # (batch, new, 1, in)

        def work(some: slice) -> None:
            for columns, block in self._blocks[some]:
                np.matmul(tokens, block, out=y[..., columns])  # (batch, new, 1, some of out)

        work_of_one = x.size * min(CACHED // x.shape[-1], self._units)
        spread(work, len(self._blocks), least=1 + WORTH // max(work_of_one, 1))
        return y[..., 0, :]


def _dense(w: Weights, name: str, inputs: int = 1) -> Linear:
    """A Keras dense layer; the first `inputs` axes of its kernel are what goes in."""
    kernel, bias = w[f"{name}/kernel"], w[f"{name}/bias"]
    return Linear(kernel.reshape(math.prod(kernel.shape[:inputs]), -1), bias.ravel())


def _below(w: Weights, name: str) -> Weights:
    """The weights below a name, without it."""
    return {k.removeprefix(name + "/"): v for k, v in w.items() if k.startswith(name + "/")}


NETWORKS: Mapping[str, Callable[[Architecture, Weights], Network]] = {
    "book": Book,
    "default": Default,
    "rnn": Recurrent,
}
