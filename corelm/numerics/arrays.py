"""The array libraries that the definitions run on, addressed in one way, and checks of arguments.

A definition takes an array of any library and calls the functions of that library through the
array API standard: `xp = array_namespace(logits)`, then `xp.sort(...)`.
Arguments are checked before the kernel or the definition is chosen, so both raise the same errors.

Source: Consortium for Python Data API Standards 2024, Python array API standard, 2024.12.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.errors import UsageError
from corelm.text.printable import shown

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
    if xp is np:
        result = flat.copy()
        result[places] = values
        return result
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


def check_ids(logits: Any, tokens: Any, **options: Any) -> None:
    """Raise if an id is not in the vocabulary."""
    # For the few ids of a batch, Python's min and max are faster than NumPy's.
    ids = tokens.tolist() if isinstance(tokens, np.ndarray) else ()
    size = logits.shape[-1]
    if ids and not (min(ids) >= 0 and max(ids) < size):
        wrong = next(i for i in ids if not 0 <= i < size)
        raise UsageError(f"there is no token {wrong}; the ids go from 0 to {size - 1}")


def check_one_id_a_row(logits: Any, tokens: Any) -> None:
    """Raise if there isn't one id for each row, or an id is not in the vocabulary."""
    _check_one_a_row(logits, tokens, "a token")
    check_ids(logits, tokens)


def check_uniforms(logits: Any, uniforms: Any) -> None:
    """Raise if there isn't one uniform number for each row."""
    _check_one_a_row(logits, uniforms, "a uniform number")


def uniform_numbers(uniforms: Any) -> Any:
    """Return uniform numbers as an array; raise if one isn't in [0, 1).

    Arrays of other libraries pass: they may be traced by a compiler, or lie on a device.
    """
    if not isinstance(uniforms, (np.ndarray, np.generic, list, tuple)):
        return uniforms
    numbers = np.asarray(uniforms)
    if numbers.dtype.kind not in "fiu" or not ((numbers >= 0) & (numbers < 1)).all():
        raise UsageError(f"uniform numbers must be at least 0 and below 1, not {shown(uniforms)}")
    return numbers


def is_number(value: Any) -> bool:
    """Return True for a number of Python, or an array of numbers of any library."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiub"
    return isinstance(value, (int, float, np.number)) or hasattr(value, "dtype")


def largest_difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest absolute difference; equal infinities don't differ, NaN always does."""
    # Masked tokens are at minus infinity in both, and inf - inf would be NaN.
    with np.errstate(invalid="ignore"):
        difference = np.where(one == other, 0, np.abs(one - other))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0))


def is_masked(array: Any) -> bool:
    """Return True for a masked array, whose mask `np.asarray` silently drops.

    Example:
        >>> is_masked(np.ma.masked_array([0.5], [True])), is_masked(np.array([0.5]))
        (True, False)
    """
    # By an attribute: `isinstance` would import np.ma, which few programs need.
    return isinstance(array, np.ndarray) and hasattr(array, "mask")


def _check_one_a_row(logits: Any, numbers: Any, thing: str) -> None:
    if not hasattr(numbers, "__len__") or getattr(numbers, "shape", None) == ():
        raise UsageError(f"expected {thing} for each of {logits.shape[0]} rows, not {numbers!r}")
    if len(numbers) != logits.shape[0]:
        raise UsageError(
            f"expected {thing} for each of {logits.shape[0]} rows, not {len(numbers)} of them"
        )
