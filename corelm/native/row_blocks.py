"""Call a definition on a few rows at a time.

A definition makes several arrays as large as its argument. Of a batch of 64 rows of 262,144 logits
in float64 they would take a gigabyte; of a few rows they stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

BLOCK = 2**17
"""The number of logits in a block of rows, at least one row: 1 MB in float64."""


def in_blocks(definition: Callable[..., R], logits: Any, *arguments: Any, **named: Any) -> R:
    """Return what a definition returns for all rows, computed on blocks of them.

    Args:
        definition: a function of (batch, vocabulary) logits that treats each row by itself; it
            returns arrays with one entry a row, a flag that holds for all rows, or a tuple of
            them.
        logits: an array of any library; only NumPy's are divided.
        arguments: those with one axis have one entry a row.
        named: likewise.

    Example:
        >>> in_blocks(np.sum, np.ones((2, BLOCK)), axis=-1).tolist()
        [131072.0, 131072.0]
    """
    blocks = list(_blocks(logits))
    if len(blocks) < 2:
        return definition(logits, *arguments, **named)
    parts = [
        definition(
            logits[rows],
            *(_part(argument, rows) for argument in arguments),
            **{name: _part(argument, rows) for name, argument in named.items()},
        )
        for rows in blocks
    ]
    return cast("R", _joined(parts))


def _blocks(logits: Any) -> Iterator[slice]:
    # A subclass, such as a masked array, would lose its type when its parts are joined.
    if type(logits) is not np.ndarray or logits.ndim != 2 or logits.size <= BLOCK:
        return iter(())
    size = max(BLOCK // logits.shape[1], 1)
    return (slice(first, first + size) for first in range(0, len(logits), size))


def _part(argument: Any, rows: slice) -> Any:
    # `kernel(by_row=False)` keeps definitions away from here whose lists belong to all rows.
    return argument[rows] if np.ndim(argument) == 1 else argument


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], tuple):
        return tuple(_joined(list(each)) for each in zip(*parts, strict=True))
    return all(parts) if isinstance(parts[0], bool) else np.concatenate(parts)
