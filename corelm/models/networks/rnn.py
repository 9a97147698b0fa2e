"""The network `rnn`: gated recurrent units."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from corelm import Array
from corelm.models.architectures import Architecture
from corelm.models.networks.base import (
    Ids,
    Network,
    Shapes,
    dense_layer,
    dense_shapes,
    weights_below,
)
from corelm.models.networks.layers import Linear, Weights, sigmoid, single


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


def weight_shapes(a: Architecture) -> Shapes:
    """Return the shapes of the weights of an architecture of this kind, by name."""
    table: Shapes = {"embedding/embeddings": (a.vocabulary_size, a.width)}
    for i in range(a.blocks):
        table |= {
            f"gru_{i}/gru_cell/kernel": (a.dense if i else a.width, 3 * a.dense),
            f"gru_{i}/gru_cell/recurrent_kernel": (a.dense, 3 * a.dense),
            f"gru_{i}/gru_cell/bias": (2, 3 * a.dense),
        }
    return table | dense_shapes("probabilities", a.dense, a.vocabulary_size)
