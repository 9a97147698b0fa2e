"""The networks of `architecture.py` without Keras, a few tokens at a time, with a memory."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.model.networks.graph import Graph, plan
from corelm.model.networks.layers import (
    Embed,
    Linear,
    Matrix,
    Reading,
    Weights,
)
from corelm.numerics.distributions import Array

Ids = NDArray[np.int64]


class Ahead(NamedTuple):
    """Reading under way: what comes of it, once it was waited for."""

    run: Any
    outputs: Array
    logits: Array

    def wait(self) -> None:
        """Until the arrays hold it; helps meanwhile."""
        native.loaded().wait(self.run)


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
        native.loaded().run(self._plan, window, memory, seen, outputs, logits)
        return outputs, logits

    def begin(self, window: Ids, new: int, memory: Array, asked: int) -> Ahead | None:
        if not self._plan:
            return None
        outputs, logits = self._room(len(window), new, asked)
        seen = self._seen(window, new)
        run = native.loaded().begin(self._plan, window, memory, seen, outputs, logits)
        return Ahead(run, outputs, logits)

    def _room(self, batch: int, new: int, asked: int) -> tuple[Array, Array]:
        outputs = np.empty((batch, new, self._width), dtype=np.float32)
        return outputs, np.empty((batch, asked, self._scores.width), dtype=np.float32)

    def _seen(self, window: Ids, new: int) -> NDArray[np.bool_] | None:
        """What the new tokens may look at: (masks, batch, new, time), or none, which is all."""
        return None


def embedding_layer(w: Weights) -> tuple[Array, Embed]:
    """The embeddings of tokens, and the layer that adds those of places."""
    tokens = w["embedding/token_embeddings/embeddings"]
    return tokens, Embed(tokens, w["embedding/position_embeddings/embeddings"])


def dense_layer(w: Weights, *names: str, inputs: int = 1, activation: str = "") -> Linear:
    """Keras dense layers side by side; the first `inputs` axes of a kernel are what goes in."""
    kernels = [w[f"{name}/kernel"] for name in names]
    flat = [kernel.reshape(math.prod(kernel.shape[:inputs]), -1) for kernel in kernels]
    biases = [w[f"{name}/bias"].ravel() for name in names]
    return Linear(np.concatenate(flat, axis=1), np.concatenate(biases), activation)


def weights_below(w: Weights, name: str) -> Weights:
    """The weights below a name, without it."""
    return {k.removeprefix(name + "/"): v for k, v in w.items() if k.startswith(name + "/")}
