"""The array libraries that the definitions run on, addressed in one way.

A definition takes an array of any library and calls the functions of that library through the
array API standard: `xp = array_namespace(logits)`, then `xp.sort(...)`.

Source: Consortium for Python Data API Standards 2024, Python array API standard, 2024.12.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.errors import UsageError

ADAPTERS = {"torch": "array_api_compat.torch", "tensorflow": "corelm.numerics.keras_arrays"}
"""Libraries whose arrays do not name their namespace, and the module to use for each."""


def array_namespace(array: Any) -> Any:
    """Return the namespace of an array's library, as the array API standard defines it.

    Args:
        array: an array of NumPy, JAX, or another library that follows the standard; a tensor of
            torch (through array-api-compat) or TensorFlow (through keras.ops).

    Raises:
        UsageError: not an array of such a library.

    Example:
        >>> xp = array_namespace(np.array([1.0, 3.0]))
        >>> float(xp.max(np.array([1.0, 3.0])))
        3.0
    """
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    library = type(array).__module__.partition(".")[0]
    if library not in ADAPTERS:
        raise UsageError(f"expected an array, not {type(array).__name__}")
    return importlib.import_module(ADAPTERS[library])


def in_library_of(array: Any, values: NDArray[Any]) -> Any:
    """Return a NumPy array as an array of the same library and device as another array.

    Example:
        >>> in_library_of(np.array([0.5]), np.array([True])).tolist()
        [True]
    """
    xp = array_namespace(array)
    if xp is np:
        return values
    device = getattr(array, "device", None)
    if device is None or isinstance(device, str):  # TensorFlow places arrays by itself
        return xp.asarray(values)
    return xp.asarray(values, device=device)


def replace_entries(flat: Any, places: NDArray[np.int64], values: Any) -> Any:
    """Return a copy of a one-dimensional array with other values at some places.

    Args:
        flat: (size,), of any library.
        places: (n,), each once.
        values: (n,), of the library of `flat`.

    Example:
        >>> replace_entries(np.array([1.0, 2.0]), np.array([1]), np.array([5.0])).tolist()
        [1.0, 5.0]
    """
    xp = array_namespace(flat)
    if hasattr(flat, "at"):  # JAX
        return flat.at[places].set(values)
    if hasattr(flat, "index_copy"):  # torch
        return flat.index_copy(0, in_library_of(flat, places), values)
    # The standard has no scatter: look up each entry among the old and the new ones.
    source = np.arange(flat.shape[0])
    source[places] = flat.shape[0] + np.arange(len(places))
    return xp.take(xp.concat([flat, values]), in_library_of(flat, source), axis=0)


def wide_float(xp: Any) -> Any:
    """Return the type that sums are taken in: float64, or float32 where the library has no other.

    JAX has float64 only where `jax_enable_x64` is set.
    """
    if xp is np:
        return np.float64
    types = xp.__array_namespace_info__().dtypes(kind="real floating")
    return types.get("float64", xp.float32)


def widen(array: Any) -> Any:
    """Return the array in float64, or in float32 where its library has no other.

    Example:
        >>> widen(np.array([0.5], np.float32)).dtype
        dtype('float64')
    """
    xp = array_namespace(array)
    return xp.astype(array, wide_float(xp))


def as_floats(numbers: Any) -> Any:
    """Return numbers as floats; arrays of floats, of any library, are returned unchanged."""
    if not hasattr(numbers, "dtype"):
        return np.asarray(numbers, dtype=np.float64)
    if isinstance(numbers, (np.ndarray, np.generic)) and numbers.dtype.kind != "f":
        return numbers.astype(np.float64)
    return numbers


def running_count(mask: Any) -> Any:
    """Count the true values up to and including each place of a row: (..., vocabulary)."""
    xp = array_namespace(mask)
    return xp.cumulative_sum(xp.astype(mask, xp.int32), axis=-1)


def first_true(mask: Any) -> Any:
    """Mark the first true value of each row: (..., vocabulary).

    Example:
        >>> first_true(np.array([False, True, True])).tolist()
        [False, True, False]
    """
    # The standard has no argmax of truth values.
    return mask & (running_count(mask) == 1)


def last_true(mask: Any) -> Any:
    """Mark the last true value of each row: (..., vocabulary).

    Example:
        >>> last_true(np.array([True, True, False])).tolist()
        [False, True, False]
    """
    count = running_count(mask)
    return mask & (count == count[..., -1:])


def positions(array: Any) -> Any:
    """Return the ids of the tokens in the shape of an array of logits: (..., vocabulary).

    Example:
        >>> positions(np.array([[0.5, 0.5, 0.5]])).tolist()
        [[0, 1, 2]]
    """
    # `arange` would need the shape and the device as arguments; counting true values inherits both.
    return running_count(array == array) - 1
