"""Arrays of MLX in NumPy."""

import mlx.core as mx
import numpy as np


def to_numpy(array):
    """Convert an array to NumPy: half precision becomes float32, ids become int64."""
    if mx.issubdtype(array.dtype, mx.floating):
        return np.array(array.astype(mx.float32))
    return np.array(array).astype(np.int64)
