"""The network `rnn`: gated recurrent units."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from corelm.model.architectures import Architecture
from corelm.model.networks.base import Ids, Network, dense_layer, weights_below
from corelm.model.networks.layers import Linear, Weights, sigmoid
from corelm.model.networks.shapes import Shapes, dense_shapes
from corelm.numerics.distributions import Array


class Recurrent(Network):
    """Gated recurrent units, which remember their states: (batch, blocks, context, dense)."""

    def __init__(self, a: Architecture, w: Weights) -> None:
        super().__init__(a.blocks, a.context_length, a.dense)
        self._tokens = w["embedding/embeddings"]
        self._cells = [GruCell(weights_below(w, f"gru_{i}/gru_cell")) for i in range(a.blocks)]
        self._scores = dense_layer(w, "probabilities")

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


def weight_shapes(a: Architecture) -> Shapes:
    table: Shapes = {"embedding/embeddings": (a.vocabulary_size, a.width)}
    for i in range(a.blocks):
        table |= {
            f"gru_{i}/gru_cell/kernel": (a.dense if i else a.width, 3 * a.dense),
            f"gru_{i}/gru_cell/recurrent_kernel": (a.dense, 3 * a.dense),
            f"gru_{i}/gru_cell/bias": (2, 3 * a.dense),
        }
    return table | dense_shapes("probabilities", a.dense, a.vocabulary_size)
