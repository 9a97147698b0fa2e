"""Networks as layer graphs that the kernels execute in one call."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from corelm import Array, native
from corelm.models.networks.layers import Attend, Embed, Linear, Norm, StepInput

Layer = Embed | Attend | Linear | Norm

INPUT = 0
"""The number of a graph's input among its values."""


class Node(NamedTuple):
    """A layer with the buffers of its inputs and the buffer of its output."""

    layer: Layer
    inputs: tuple[int, ...]
    output: int


class Placement(NamedTuple):
    """The nodes of a graph, and the width of each buffer."""

    nodes: list[Node]
    widths: list[int]


class Graph:
    """Layers, each of which computes a value from earlier ones; the last value is the output.

    Args:
        width: of the input; 0 if that is a `StepInput`.

    Example:
        >>> import numpy as np
        >>> graph = Graph(2)
        >>> doubled = graph.add(Linear(2 * np.eye(2, dtype=np.float32)), INPUT)
        >>> added = graph.add(Linear(np.eye(2, dtype=np.float32)), doubled, INPUT)
        >>> graph(np.array([[[1, 2]]], np.float32)).tolist()
        [[[3.0, 6.0]]]
    """

    def __init__(self, width: int = 0) -> None:
        self._added: list[tuple[Layer, tuple[int, ...]]] = []
        self._width = width
        # Not a functools.cached_property: on Python 3.11 it holds a lock, on which a child would
        # wait for ever if another thread held it at the fork.
        self._placement: Placement | None = None

    def add(self, layer: Layer, *inputs: int) -> int:
        """Add a layer that takes these values; return the number of the value it computes."""
        self._added.append((layer, inputs))
        self._placement = None
        return len(self._added)

    def then(self, layer: Layer) -> Graph:
        """Return a copy of the graph that ends with another layer."""
        longer = Graph(self._width)
        longer._added = self._added.copy()
        longer.add(layer, len(longer._added))
        return longer

    def __call__(self, value: Array | StepInput) -> Array:
        """Evaluate the graph one layer at a time."""
        nodes, widths = self.placement
        buffers: list[Any] = [value, *widths[1:]]
        for layer, inputs, output in nodes:
            buffers[output] = layer(*(buffers[i] for i in inputs))
        result: Array = buffers[nodes[-1].output]
        return result

    @property
    def layers(self) -> list[Layer]:
        """The layers in the order of execution."""
        return [layer for layer, _ in self._added]

    @property
    def placement(self) -> Placement:
        """The nodes with their buffers, computed once.

        A buffer whose value is no longer needed is used again for a value of the same width.
        """
        if self._placement is None:
            self._placement = self._place()
        return self._placement

    def _place(self) -> Placement:
        # A deep network needs a handful of buffers instead of one a layer, so that a step of a
        # large batch stays in the processor's cache.
        last_use = {value: i for i, (_, inputs) in enumerate(self._added) for value in inputs}
        buffers, widths, nodes = [INPUT], [self._width], list[Node]()
        free = defaultdict[int, list[int]](list)  # by width
        for i, (layer, inputs) in enumerate(self._added):
            is_last = i + 1 == len(self._added)  # the output has a buffer of its own
            if free[layer.width] and not is_last:
                buffers.append(free[layer.width].pop())
            else:
                buffers.append(len(widths))
                widths.append(layer.width)
            nodes.append(Node(layer, tuple(buffers[value] for value in inputs), buffers[-1]))
            for value in {value for value in inputs if value != INPUT and last_use[value] == i}:
                free[widths[buffers[value]]].append(buffers[value])
        return Placement(nodes, widths)


def plan(body: Graph, head: Graph) -> Any:
    """Return the two graphs in the form that `native.kernels.run` executes; None without kernels.

    Args:
        body: from a `StepInput` to (batch, new, width).
        head: from (batch, tokens, width) to scores.
    """
    if native.kernels is None:
        return None
    arguments: list[tuple[Any, ...]] = []
    for graph in (body, head):
        nodes, widths = graph.placement
        arguments += [tuple(_describe(node) for node in nodes), tuple(widths)]
    return native.kernels.plan(*arguments)


def _describe(node: Node) -> tuple[Any, ...]:
    name, *arrays = node.layer.kernel
    inputs = node.inputs[1:] if node.layer.reads_step else node.inputs  # every node has the step
    return name, inputs, node.output, *arrays
