"""Choose between a compiled kernel and the plain definition of a function.

A function on logits is defined once, for any array library. `@kernel(rows.top_k)` on the definition
puts the compiled kernel in its place wherever the kernel can read the logits: float32 in the
processor's memory, held by NumPy or by a tensor of torch, which is lent without a copy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps
from inspect import signature
from types import FunctionType
from typing import Any, TypeGuard, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.errors import UsageError
from corelm.native import rows

BLOCK = 2**17
"""The largest number of logits in a block of rows: 1 MB in float64. A block has at least one
row."""

R = TypeVar("R")
Definition = TypeVar("Definition", bound=Callable[..., Any])
Array = NDArray[Any]

FLOAT32 = np.dtype(np.float32)


def kernel(
    on_rows: Callable[..., Any],
    check: Callable[..., None] | None = None,
    *,
    check_entries: Callable[..., None] | None = None,
    in_place: bool = False,
    by_row: bool = True,
) -> Callable[[Definition], Definition]:
    """Call a kernel in place of the definition wherever the kernel can read the logits.

    Args:
        on_rows: a function of `corelm.native.rows`, which takes the arguments of the definition.
        check: raises for arguments outside their range. It is called with all arguments, so that
            the kernel and the definition raise the same errors.
        check_entries: the same for arguments with one entry a row. The kernel checks these itself,
            so this is called only to word the error.
        in_place: True if the function writes into the logits, so it can't work on a copy.
        by_row: True if an argument with axes has one entry a row, so that the definition can be
            called on a few rows at a time.
    """

    def decorate(definition: Definition) -> Definition:
        define: Callable[..., Any]
        define = partial(in_blocks, definition) if by_row else definition

        @wraps(definition)
        def serve(logits: Any, /, *arguments: Any, **named: Any) -> Any:
            if type(logits) is not np.ndarray and not hasattr(logits, "shape"):
                raise UsageError(f"expected an array, not {type(logits).__name__}")
            if named:  # kernels take their arguments in the order of the definition's
                arguments = signature(definition).bind(logits, *arguments, **named).args[1:]
            if check is not None:
                check(logits, *arguments)
            if (
                type(logits) is np.ndarray
                and logits.dtype is FLOAT32
                and logits.ndim == 2
                and native.kernels is not None
            ):
                # A decoding step makes five such calls, so the checks are left to the kernel: it
                # raises for rows that it can't read in place.
                try:
                    return on_rows(logits, *arguments)
                except (TypeError, ValueError):
                    pass
            if check_entries is not None:
                check_entries(logits, *arguments)
            if native.kernels is None or not _can_read(logits, in_place, arguments):
                return define(logits, *arguments)
            return _call_any(on_rows, logits, *arguments)

        vars(serve)["kernel"] = on_rows.__name__
        return cast("Definition", serve)

    return decorate


def compiled(name: str, by_row: bool = True) -> Callable[[Definition], Definition]:
    """Return a decorator that has a compiled kernel compute a formula on logits that it can read.

    A formula is for arrays of any library, (batch, vocabulary) first. The kernel gives float32 on
    the processor the same result in less time; without kernels, the formula is all there is.

    Args:
        name: the kernel's name, such as `top_p`; the message about an unknown one lists them all.
        by_row: True if an argument with axes has one entry a row, so that the formula can be
            called on a few rows at a time.

    Raises:
        UsageError: there is no kernel of that name.

    Example:
        >>> @compiled("logit_std")
        ... def deviation(logits):
        ...     return logits.std(axis=-1)
        >>> deviation(np.array([[4.0, 3.0, 2.0, 1.0]])).round(4).tolist()
        [1.118]
    """
    on_rows = getattr(rows, name, None)
    if not _is_on_rows(on_rows):
        names = ", ".join(sorted(each for each, value in vars(rows).items() if _is_on_rows(value)))
        raise UsageError(f"there is no kernel {name!r}; the kernels on logits are: {names}")
    return kernel(on_rows, by_row=by_row)


def _is_on_rows(value: Any) -> TypeGuard[Callable[..., Any]]:
    """Return True for a function of `corelm.native.rows` whose first argument is the rows."""
    return isinstance(value, FunctionType) and value.__code__.co_varnames[:1] == ("rows",)


def named(name: str) -> Callable[[Definition], Definition]:
    """Return a decorator that names the kernel of a function that calls it in some cases only.

    A function on logits has the name of its kernel, if it has one, as its attribute `kernel`.
    """

    def name_kernel(function: Definition) -> Definition:
        vars(function)["kernel"] = name
        return function

    return name_kernel


def _can_read(logits: Any, in_place: bool, arguments: tuple[Any, ...]) -> bool:
    """Return whether the kernels can read an array, or a copy of it unless `in_place`."""
    if isinstance(logits, np.ndarray):
        # A subclass, such as a masked array, has arithmetic of its own, which a kernel would miss.
        if type(logits) is not np.ndarray or logits.dtype != FLOAT32 or not logits.size:
            return False
        return not in_place or _is_behaved(logits)
    # A tensor exists only if torch was imported: looking it up never imports it.
    if type(logits).__module__ != "torch" or logits.dtype != sys.modules["torch"].float32:
        return False
    # A kernel has no gradient, so where a tensor needs one, the definition serves.
    if any(getattr(each, "requires_grad", False) for each in (logits, *arguments)):
        return False
    return bool(logits.device.type == "cpu" and logits.numel() > 0)


def _is_behaved(logits: Array) -> bool:
    flags = logits.flags
    return flags.c_contiguous and flags.aligned


def _call_any(on_rows: Callable[..., object], logits: Any, *arguments: Any) -> object:
    """Call a kernel on an array, or on a tensor, which gets tensors as its result."""
    if isinstance(logits, np.ndarray):
        return _call(on_rows, logits, *arguments)
    arrays = _call(on_rows, logits.numpy(), *arguments)
    return _each_array(arrays, sys.modules["torch"].from_numpy)


def _call(on_rows: Callable[..., object], logits: Array, *arguments: Any) -> object:
    """Call a kernel on logits of any number of axes; copy them if their layout differs."""
    if not _is_behaved(logits):
        logits = np.require(logits, requirements=("C", "ALIGNED"))
    if logits.ndim == 2:
        return on_rows(logits, *arguments)
    shape = logits.shape[:-1]
    result = on_rows(logits.reshape(-1, logits.shape[-1]), *arguments)
    return _each_array(result, lambda array: array.reshape(shape + array.shape[1:]))


def _each_array(result: object, change: Callable[[Array], object]) -> object:
    """Apply a function to each array of a result: an array, a flag, or a tuple of them."""
    if isinstance(result, tuple):
        return tuple(_each_array(part, change) for part in result)
    return change(result) if isinstance(result, np.ndarray) else result


def in_blocks(definition: Callable[..., R], logits: Any, *arguments: Any) -> R:
    """Apply a definition to one block of rows at a time, and join the results.

    A definition makes several arrays as large as its argument. Of a batch of 64 rows of 262,144
    logits in float64 they would take a gigabyte; of a few rows they stay in the processor's cache.

    Args:
        definition: a function of (batch, vocabulary) logits that treats each row by itself; it
            returns arrays with one entry a row, a flag that holds for all rows, or a tuple of
            them.
        logits: an array of any library; only NumPy's are divided.
        arguments: arrays have one entry per row.

    Example:
        >>> in_blocks(np.sum, np.ones((2, BLOCK)), -1).tolist()
        [131072.0, 131072.0]
    """
    blocks = list(_blocks(logits))
    if len(blocks) < 2:
        return definition(logits, *arguments)
    # An argument with axes has one entry a row; other definitions set `kernel(by_row=False)`.
    parts = [
        definition(logits[rows], *(x[rows] if np.ndim(x) else x for x in arguments))
        for rows in blocks
    ]
    return cast("R", _joined(parts))


def _blocks(logits: Any) -> Iterator[slice]:
    # A subclass, such as a masked array, would lose its type when its parts are joined.
    if type(logits) is not np.ndarray or logits.ndim != 2 or logits.size <= BLOCK:
        return iter(())
    size = max(BLOCK // logits.shape[1], 1)
    return (slice(first, first + size) for first in range(0, len(logits), size))


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], tuple):
        return tuple(_joined(list(each)) for each in zip(*parts, strict=True))
    return all(parts) if isinstance(parts[0], bool) else np.concatenate(parts)
