"""The networks of `architecture.py` in plain NumPy, a few tokens at a time, with a memory.

The result of a row is the same to the last bit whichever other rows are decoded with it. BLAS
rounds a product of matrices and a product of a vector and a matrix differently, so every row is
multiplied by itself: `np.matmul` of (batch, time, in) and (in, out) does one BLAS call a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.distributions import Array
from corelm.model.presets import Architecture

Weights = Mapping[str, NDArray[np.float32]]
Ids = NDArray[np.int64]

EPSILON = np.float32(1e-6)
NEVER = np.float32(-1e9)

CACHED = 2**17
"""Weights in one block of columns: half a megabyte, which stays in the processor's cache while
all rows of a batch are multiplied by it."""


class Network(ABC):
    """A network that reads tokens and remembers them."""

    @abstractmethod
    def memory(self, batch: int) -> Array:
        """Room for what it remembers, one entry per row: (batch, ...)."""

    @abstractmethod
    def read(self, window: Ids, new: int, memory: Array) -> Array:
        """Read the last `new` tokens of each row; the earlier ones are in the memory.

        Args:
            window: (batch, time) ids.
            new: how many of them were not read yet, at least 1.
            memory: (batch, ...); is changed.

        Returns:
            (batch, vocabulary): the logits of the next token.
        """


class Transformer(Network):
    """A network that remembers the keys and values of its attentions."""

    def __init__(self, a: Architecture, w: Weights, attentions: int, size: int) -> None:
        self._cache = (attentions, 2, a.heads, a.context_length, size)
        self._vocabulary_size = a.vocabulary_size
        self._tokens = w["embedding/token_embeddings/embeddings"]
        self._positions = w["embedding/position_embeddings/embeddings"]

    def memory(self, batch: int) -> Array:
        return np.empty((batch, *self._cache), dtype=np.float32)

    def read(self, window: Ids, new: int, memory: Array) -> Array:
        if new == 1:
            return self._read(window, new, memory)
        logits = np.empty((len(window), self._vocabulary_size), dtype=np.float32)
        for row in range(len(window)):
            one = slice(row, row + 1)
            logits[one] = self._read(window[one], new, memory[one])
        return logits

    @abstractmethod
    def _read(self, window: Ids, new: int, cache: Array) -> Array:
        """The network: as `read`."""

    def _embed(self, window: Ids, new: int) -> Array:
        time = window.shape[1]
        tokens = self._tokens.take(window[:, time - new :], axis=0)
        return tokens + self._positions[time - new : time]  # (batch, new, width)


class Default(Transformer):
    """Pre-norm blocks and tied embeddings."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a, w, attentions=a.blocks, size=a.width // a.heads)
        self._blocks = [PreNormBlock(a.heads, part(w, f"block_{i}")) for i in range(a.blocks)]
        self._norm = w["norm/scale"]
        self._logits = Linear(self._tokens.T)

    def _read(self, window: Ids, new: int, cache: Array) -> Array:
        x = self._embed(window, new)  # (batch, new, width)
        for i, block in enumerate(self._blocks):
            x = block(x, cache[:, i], window.shape[1])
        last = rms_norm(x[:, -1:], self._norm)  # (batch, 1, width)
        return self._logits(last)[:, 0]  # (batch, vocabulary)


class PreNormBlock:
    """Normalise, attend, add; normalise, dense, add: (batch, new, width) to the same."""

    def __init__(self, heads: int, w: Weights) -> None:
        self._heads = heads
        self._attention_norm, self._dense_norm = w["attention_norm/scale"], w["dense_norm/scale"]
        self._qkv, self._attention_out = Linear(w["qkv/kernel"]), Linear(w["attention_out/kernel"])
        self._dense_in, self._dense_out = Linear(w["dense_in/kernel"]), Linear(w["dense_out/kernel"])

    def __call__(self, x: Array, cache: Array, time: int) -> Array:
        batch, new, _ = x.shape
        qkv = self._qkv(rms_norm(x, self._attention_norm))  # (batch, new, 3 * width)
        qkv = qkv.reshape(batch, new, 3, self._heads, -1)
        seen = None if new == 1 else causal(new, time)
        x = x + self._attention_out(attend(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], cache, time, seen))
        hidden = np.maximum(self._dense_in(rms_norm(x, self._dense_norm)), 0)
        return x + self._dense_out(hidden * hidden)


def attend(
    query: Array, key: Array, value: Array, cache: Array, time: int, seen: Array | None
) -> Array:
    """Attention of the new tokens to all, after their keys and values went into the cache.

    Args:
        query, key, value: (batch, new, heads, size).
        cache: (batch, 2, heads, context, size).
        time: tokens in the window, the new ones among them.
        seen: (..., new, time), which tokens each new one may look at; none means all.

    Returns:
        (batch, new, heads * size)
    """
    batch, new, _, size = query.shape
    cache[:, 0, :, time - new : time] = key.swapaxes(1, 2)
    cache[:, 1, :, time - new : time] = value.swapaxes(1, 2)
    keys, values = cache[:, 0, :, :time], cache[:, 1, :, :time]  # (batch, heads, time, size)
    scores = query.swapaxes(1, 2) @ keys.swapaxes(2, 3)  # (batch, heads, new, time)
    scores *= np.float32(size**-0.5)
    if seen is not None:
        scores = np.where(seen, scores, NEVER)
    scores -= np.maximum.reduce(scores, axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, axis=-1, keepdims=True)
    return (scores @ values).swapaxes(1, 2).reshape(batch, new, -1)


def causal(new: int, time: int) -> NDArray[np.bool_]:
    """(new, time): each of the last tokens sees itself and those before it."""
    positions = np.arange(time)
    return positions <= positions[time - new :, None]


def rms_norm(x: Array, scale: Array) -> Array:
    """Divide by the root mean square, (..., width) to the same."""
    mean = np.vecdot(x, x)[..., None] / np.float32(x.shape[-1])
    return x / np.sqrt(mean + EPSILON) * scale


class Linear:
    """x @ kernel + bias, each row of the batch by itself, the kernel one block after the other."""

    def __init__(self, kernel: Array, bias: Array | None = None) -> None:
        inputs, self._units = kernel.shape
        step = max(CACHED // inputs, 1)
        self._blocks = [
            (slice(i, i + step), np.ascontiguousarray(kernel[:, i : i + step]))
            for i in range(0, self._units, step)
        ]
        self._bias = bias

    def __call__(self, x: Array) -> Array:
        y = np.empty((*x.shape[:-1], self._units), dtype=np.float32)
        for columns, block in self._blocks:
            np.matmul(x, block, out=y[..., columns])  # (batch, time, in) @ (in, some of out)
        if self._bias is not None:
            y += self._bias
        return y


def part(w: Weights, name: str) -> dict[str, Any]:
    """The weights below a name, without it."""
    return {k.removeprefix(name + "/"): v for k, v in w.items() if k.startswith(name + "/")}
