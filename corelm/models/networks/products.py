"""The matrix products of a step on their own, which bound the speed of decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from corelm import Array, native
from corelm.models.networks.layers import Matrix, Panels


def bare_products(matrices: Sequence[Matrix], batch: int) -> list[list[Callable[[], object]]]:
    """Return calls that multiply a batch with each matrix, by NumPy and by the kernels.

    Args:
        matrices: the shapes, and whether the kernels store them in half precision.
        batch: the number of vectors multiplied with each matrix.

    Returns:
        The calls of NumPy; then the calls of the kernels, if there are kernels.
    """
    in_numpy: list[Callable[[], object]] = []
    in_kernels: list[Callable[[], object]] = []
    for inputs, units, halves in matrices:
        x, out = _filled(1, batch, inputs), _filled(1, batch, units)
        number = 1 / 2 if halves else 1 / 3  # a half holds 1/2 exactly, and 1/3 not
        matrix = _filled(inputs, units, number=number)
        in_numpy.append(partial(np.matmul, x, matrix, out=out))
        if native.kernels:
            in_kernels.append(partial(Panels(matrix), x, None, 0, None, out))
    return [in_numpy, in_kernels] if native.kernels else [in_numpy]


def _filled(*shape: int, number: float = 0.5) -> Array:
    """Return an array in memory of its own, as weights are."""
    return np.full(shape, number, dtype=np.float32)
