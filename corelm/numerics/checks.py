"""Checks of arguments, made before the kernel or the definition is chosen.

Kernels and definitions therefore raise the same errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from corelm.errors import UsageError
from corelm.printable import shown


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


def is_one_number(value: Any) -> bool:
    """Return True for a number, of Python or as an array without axes."""
    return is_number(value) and getattr(value, "shape", ()) == ()


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
