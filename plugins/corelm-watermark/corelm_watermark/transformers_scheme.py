"""The green lists of transformers, computed from torch's random numbers."""

from functools import lru_cache

import numpy as np

from corelm.errors import MissingDependencyError


def green_lists(key, tokens, share, size):
    """Return the green lists after tokens, as WatermarkLogitsProcessor computes with "lefthash".

    Args:
        key: the `hashing_key`.
        tokens: (rows,) ids of the last tokens.
        share: the `greenlist_ratio`.
        size: the number of tokens in the vocabulary.

    Returns:
        (rows, size) booleans.

    Raises:
        MissingDependencyError: torch is not installed.
    """
    return np.stack([_green_list(key, token, share, size) for token in tokens.tolist()])


@lru_cache(maxsize=2048)
def _green_list(key, token, share, size):
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "scheme='transformers' needs torch: pip install torch"
        ) from None
    generator = torch.Generator().manual_seed(key * token % (2**64 - 1))
    green = np.zeros(size, dtype=bool)
    green[torch.randperm(size, generator=generator)[: int(size * share)].numpy()] = True
    return green
