"""Read a file of weights without copying them.

The format is safetensors: the length of a header, the header in JSON, and the arrays one after the
other. The returned arrays are views of the file's bytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.errors import ModelFileError
from corelm.models.architectures import Architecture
from corelm.models.atomic_files import JSON_LIMIT, parse_json
from corelm.models.weights import check_shapes, shapes

DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}


def parse_weights(content: memoryview, a: Architecture) -> dict[str, NDArray[Any]]:
    """Return the weights in the content of a file by name, read-only and as they are stored.

    Args:
        content: the file.
        a: the architecture that they have to fit.

    Raises:
        ModelFileError: a file that is malformed, or has other weights than the architecture.
    """
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= min(JSON_LIMIT, len(content) - 8):
        raise ModelFileError(f"its header claims {length} bytes of {len(content)}")
    header = parse_json(bytes(content[8 : 8 + length]))
    header.pop("__metadata__", None)
    # Before anything is read by the header's offsets, whose sizes a forger could choose.
    check_shapes(a, {name: _shape(name, entry) for name, entry in header.items()})
    return _arrays(content, 8 + length, header, shapes(a))


def _shape(name: str, entry: Any) -> tuple[Any, ...]:
    if not isinstance(entry, dict) or entry.get("dtype") not in ("F16", "F32"):
        raise ModelFileError(f"the weights {name!r} are neither float16 nor float32")
    if not isinstance(entry.get("shape"), list):
        raise ModelFileError(f"the weights {name!r} have no shape")
    return tuple(entry["shape"])


def _arrays(
    content: memoryview, start: int, header: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> dict[str, NDArray[Any]]:
    """Return the arrays; from `start` on they fill the file without gaps."""
    arrays = {}
    end = 0
    for name in sorted(header, key=lambda name: _begin(name, header[name])):
        dtype, count = DTYPES[header[name]["dtype"]], math.prod(shapes[name])
        begin, end = end, end + count * dtype.itemsize
        if header[name]["data_offsets"] != [begin, end] or start + end > len(content):
            raise _misplaced(name)
        array = np.frombuffer(content, dtype, count, start + begin).reshape(shapes[name])
        # A header of odd length moves the arrays off their alignment; only then is there a copy.
        arrays[name] = np.require(array, requirements=("ALIGNED",))
    if start + end != len(content):
        raise ModelFileError("it isn't a safetensors file: there are bytes after the last weights")
    return arrays


def _begin(name: str, entry: dict[str, Any]) -> int:
    match entry.get("data_offsets"):
        case [int(begin), int()]:
            return begin
    raise _misplaced(name)


def _misplaced(name: str) -> ModelFileError:
    return ModelFileError(f"it isn't a safetensors file: the weights {name!r} are misplaced")
