"""Write a network for a program without Python, which runs it by the kernels alone."""

from __future__ import annotations

from typing import Any

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


def network_file(model: Any) -> tuple[dict[str, Any], bytes]:
    """Return the network of a model as a description for JSON and its arrays, little-endian.

    The description has `context`, `cache` (the shape of the cache of one row), `arrays` and two
    graphs, `reader` from tokens to states and `head` from there to logits. An array has a dtype
    (`F16` or `F32`), the number of its values and its offset in bytes; or it is the panels of the
    transpose of an earlier array, `panels_of`. A graph has the `widths` of its values and `nodes`,
    eight whole numbers each: the layer's code, the output, the number of inputs, two inputs, and
    the layer's own three, where a number below 0 stands for an array, -1 for the first one.

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
    listed, data = [], bytearray()
    for i, array in enumerate(arrays):
        # Tied embeddings are as long as all other weights of a small model.
        tied = next((k for k in range(i) if _are_panels_of(array, arrays[k])), None)
        if tied is None:
            dtype = f"F{8 * array.itemsize}"
            listed.append({"dtype": dtype, "count": array.size, "offset": len(data)})
            data += array.tobytes() + bytes(-array.nbytes % ALIGNED)
        else:
            listed.append({"panels_of": tied, "inputs": array.shape[1]})
    description: dict[str, Any] = {"context": model.context_length, "cache": network.cache_shape}
    description |= {"arrays": listed, "reader": reader, "head": head}
    return description, bytes(data)


def _graph(graph: Graph, arrays: list[NDArray[Any]]) -> dict[str, Any]:
    nodes, widths = graph.placement
    rows = []
    for layer, inputs, output in nodes:
        name, *own = layer.kernel
        if name == "embed":
            own[2] = len(own[0])  # the kernel refuses other tokens
        read = inputs[1:] if layer.reads_step else inputs  # every node gets the step
        places = (*read, 0, 0)[:2]
        own = [_number(value, arrays) for value in own]
        rows.append([LAYERS.index(name), output, len(read), *places, *own])
    return {"widths": widths, "nodes": rows}


def _number(value: Any, arrays: list[NDArray[Any]]) -> int:
    """Return a value of a layer's own as a number of 32 bits; append it if it is an array."""
    if isinstance(value, np.floating):
        return int(np.float32(value).view(np.int32))
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return -len(arrays)
    return value or 0


def _are_panels_of(panels: NDArray[Any], array: NDArray[Any]) -> bool:
    if panels.ndim != 3 or array.ndim != 2 or panels.shape[1] != array.shape[1]:
        return False
    return np.array_equal(Panels(array.T).panels, panels)
