"""Arrays of MLX in NumPy."""

import mlx.core as mx
import numpy as np


def to_numpy(array):
    """Return an array in NumPy: numbers of half precision in float32, ids in int64."""
    if mx.issubdtype(array.dtype, mx.floating):
        return np.array(array.astype(mx.float32))
    return np.array(array).astype(np.int64)
