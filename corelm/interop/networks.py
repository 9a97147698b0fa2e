"""Write a network for a program without Python, which runs it by the kernels alone."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.errors import UsageError
from corelm.models.networks.base import Graph, Transformer
from corelm.models.networks.layers import Panels

LAYERS = ("embed", "multiply", "normalise", "attend")
"""The layers in the order of the kernels' codes."""
ALIGNED = 8
"""The bytes of which the offset of each array is a multiple."""


class NetworkFile(NamedTuple):
    """A network as JSON and its arrays one after the other, little-endian.

    Attributes:
        description: `context`, `cache` (the shape of the cache of one row), `arrays` (the dtype,
            `F16` or `F32`, the number of values and the offset in bytes of each), and two graphs,
            `reader` from tokens to states and `head` from there to logits. A graph has the
            `widths` of its values and `nodes`: the layer's code, the output, the inputs and the
            layer's own three entries, in which `{"array": i}` stands for an array, and
            `{"panels_of": i}` for the panels of the transposed array i.
        data: the arrays.
    """

    description: dict[str, Any]
    data: bytes


def network_file(model: Any) -> NetworkFile:
    """Return the network of a model as a file.

    Args:
        model: one of corelm's own.

    Raises:
        UsageError: a model without such a network, such as a recurrent one, or no kernels here.

    Example:
        >>> import corelm
        >>> description, data = network_file(corelm.load("gpt2"))
        >>> description["context"], len(description["reader"]["nodes"]), len(data)
        (256, 29, 2780160)
    """
    network = getattr(model, "_network", None)
    if not isinstance(network, Transformer) or native.kernels is None:
        raise UsageError(f"{model} is no graph of layers that kernels run, as corelm's own are")
    arrays: list[NDArray[Any]] = []
    reader, head = (_graph(graph, arrays) for graph in network.graphs)
    parts = [_aligned(each.tobytes()) for each in arrays]
    offsets = accumulate([0, *map(len, parts)])
    listed = [
        {"dtype": f"F{8 * each.itemsize}", "count": each.size, "offset": offset}
        for each, offset in zip(arrays, offsets, strict=False)
    ]
    description = {"context": model.context_length, "cache": network.cache_shape}
    description |= {"reader": reader, "head": head, "arrays": listed}
    return NetworkFile(description, b"".join(parts))


def _aligned(content: bytes) -> bytes:
    return content + bytes(-len(content) % ALIGNED)


def _graph(graph: Graph, arrays: list[NDArray[Any]]) -> dict[str, Any]:
    nodes, widths = graph.placement
    described = []
    for layer, inputs, output in nodes:
        name, *own = layer.kernel
        read = inputs[1:] if layer.reads_step else inputs  # every node gets the step
        entries = [_entry(value, arrays) for value in own]
        described.append([LAYERS.index(name), output, read, *entries])
    return {"widths": widths, "nodes": described}


def _entry(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """Return an entry of a node as JSON; an array is appended, unless it is there already."""
    if isinstance(value, np.floating):
        return float(value)
    if not isinstance(value, np.ndarray):
        return value
    for i, array in enumerate(arrays):
        # Tied embeddings, as long as all other weights of a small model.
        if _are_panels_of(value, array):
            return {"panels_of": i}
    arrays.append(value)
    return {"array": len(arrays) - 1}


def _are_panels_of(panels: NDArray[Any], array: NDArray[Any]) -> bool:
    if panels.ndim != 3 or array.ndim != 2 or panels.shape[1] != array.shape[1]:
        return False
    return np.array_equal(Panels(array.T).panels, panels)
