"""Networks as graphs of layers, which the kernels run without a word to Python in between."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any, NamedTuple

from corelm import native
from corelm.model.networks.layers import Attend, Embed, Linear, Norm, Reading
from corelm.numerics.distributions import Array

Layer = Embed | Attend | Linear | Norm

GIVEN = 0
"""The number of the value that a graph is given."""


class Node(NamedTuple):
    """A layer, the places of the values it is given, and that of the value it makes."""

    layer: Layer
    inputs: tuple[int, ...]
    output: int


class Graph:
    """Layers, each of which makes a value of earlier ones; the last one's is what comes of it.

    Args:
        width: of the value that it is given; 0 if that is a `Reading`.

    Example:
        >>> import numpy as np
        >>> graph = Graph(2)
        >>> doubled = graph.add(Linear(2 * np.eye(2, dtype=np.float32)), GIVEN)
        >>> added = graph.add(Linear(np.eye(2, dtype=np.float32)), doubled, GIVEN)
        >>> graph(np.array([[[1, 2]]], np.float32)).tolist()
        [[[3.0, 6.0]]]
    """

    def __init__(self, width: int = 0) -> None:
        self._made: list[tuple[Layer, tuple[int, ...]]] = []
        self._width = width

    def add(self, layer: Layer, *inputs: int) -> int:
        """Have a layer make a value of others, named by their numbers; returns its number."""
        self._made.append((layer, inputs))
        vars(self).pop("placed", None)
        return len(self._made)

    def then(self, layer: Layer) -> Graph:
        """Another graph, which goes on with a layer."""
        longer = Graph(self._width)
        longer._made = self._made.copy()
        longer.add(layer, len(longer._made))
        return longer

    def __call__(self, given: Array | Reading) -> Array:
        """What comes of it, layer by layer."""
        nodes, widths = self.placed
        values: list[Any] = [given, *widths[1:]]
        for layer, inputs, output in nodes:
            values[output] = layer(*(values[i] for i in inputs))
        result: Array = values[nodes[-1].output]
        return result

    @property
    def layers(self) -> list[Layer]:
        """In the order in which they are run."""
        return [layer for layer, _ in self._made]

    @cached_property
    def placed(self) -> tuple[list[Node], list[int]]:
        """The layers with the places of their values, and how wide each place is.

        Where a value is not needed any more, there is room for another one of its width.
        """
        last = {value: i for i, (_, inputs) in enumerate(self._made) for value in inputs}
        places, widths, nodes = [GIVEN], [self._width], list[Node]()
        free = defaultdict[int, list[int]](list)
        for i, (layer, inputs) in enumerate(self._made):
            if i + 1 < len(self._made) and free[layer.width]:
                places.append(free[layer.width].pop())
            else:
                places.append(len(widths))
                widths.append(layer.width)
            nodes.append(Node(layer, tuple(places[value] for value in inputs), places[-1]))
            for value in {value for value in inputs if value != GIVEN and last[value] == i}:
                free[widths[places[value]]].append(places[value])
        return nodes, widths


def plan(reads: Graph, head: Graph) -> Any:
    """What `native.kernels.run` runs; None without kernels.

    Args:
        reads: from a `Reading` to (batch, new, width).
        head: from (batch, tokens, width) to scores.
    """
    if native.kernels is None:
        return None
    parts: list[tuple[Any, ...]] = []
    for graph in (reads, head):
        nodes, widths = graph.placed
        parts += [tuple(_described(node) for node in nodes), tuple(widths)]
    return native.kernels.plan(*parts)


def _described(node: Node) -> tuple[Any, ...]:
    name, *arrays = node.layer.kernel
    inputs = node.inputs[1:] if node.layer.reads else node.inputs  # what is read, it knows
    return name, inputs, node.output, *arrays
