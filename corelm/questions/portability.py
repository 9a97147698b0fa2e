"""Test whether a sampler runs on arrays of any library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from corelm.contracts.context import Context
from corelm.errors import MissingDependencyError
from corelm.numerics.arrays import array_namespace
from corelm.numerics.distributions import softmax

ROWS = np.array(
    [
        [2.0, 2.0, -1.5, 0.25, -np.inf, 1.0, -4.0],
        [-0.5, 3.0, 0.125, 3.0, 2.75, -np.inf, 0.0],
    ],
    dtype=np.float32,
)
"""Logits with ties and impossible tokens, far enough apart that no threshold is met by rounding."""


CONTEXT = np.array([[1, 0, 1, 0], [2, 2, 2, 0]])
"""The tokens before them."""


def is_portable(sampler: Callable[[Any, Context], Any]) -> bool:
    """Return whether a sampler takes arrays of any library and agrees with its result on NumPy's.

    It is called with an array of array-api-strict, a library with the functions of the array API
    standard and no others.

    Args:
        sampler: maps logits (batch, vocabulary) and a context to new logits.

    Raises:
        MissingDependencyError: array-api-strict is not installed.

    Example:
        >>> import corelm
        >>> is_portable(corelm.sampler("top_p", p=0.9)), is_portable(corelm.sampler("ban"))
        (True, False)
    """
    try:
        import array_api_strict as strict
    except ImportError as error:
        raise MissingDependencyError(
            "this needs the package array-api-strict; run: pip install array-api-strict"
        ) from error
    stages = getattr(sampler, "stages", (sampler,))  # each stage alone, since some do nothing here
    return all(runs_on(stage, strict.asarray(ROWS)) for stage in stages)


def runs_on(sampler: Callable[[Any, Context], Any], array: Any) -> bool:
    """Return whether a sampler takes arrays of one library and agrees with its result on NumPy's.

    Args:
        sampler: maps logits (batch, vocabulary) and a context to new logits.
        array: any array of that library.
    """
    context, logits = Context.of(CONTEXT), array_namespace(array).asarray(ROWS)
    try:
        result = sampler(logits, context)
        if result is logits and getattr(sampler, "reads", None):
            return False  # it changed nothing in this context, so that proves nothing
        array, expected = np.asarray(result), sampler(ROWS, context)
        is_alike = (array.shape, array.dtype) == (expected.shape, expected.dtype)
        return (
            type(result) is type(logits)
            and is_alike
            and np.allclose(softmax(array), softmax(expected), rtol=1e-4, atol=1e-6)
        )
    except (Exception, SystemExit):  # such as a NumPy function on another library's array
        return False
