"""Networks as layer graphs that the kernels execute in one call; one file a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from corelm.models.architectures import Architecture
from corelm.models.networks import book, default, gpt2, rnn
from corelm.models.networks.base import Network, Shapes
from corelm.models.networks.layers import Weights

NETWORKS: Mapping[str, Callable[[Architecture, Weights], Network]] = {
    "book": book.Book,
    "default": default.Default,
    "gpt2": gpt2.Gpt2,
    "rnn": rnn.Recurrent,
}
"""The network of each kind."""

WEIGHT_SHAPES: Mapping[str, Callable[[Architecture], Shapes]] = {
    "book": book.weight_shapes,
    "default": default.weight_shapes,
    "gpt2": gpt2.weight_shapes,
    "rnn": rnn.weight_shapes,
}
"""The shapes of the weights of each kind."""
