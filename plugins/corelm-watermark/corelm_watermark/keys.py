"""Secret keys: where they come from, and the hashes that they seed."""

import os
from hashlib import blake2b

import numpy as np

from corelm import ParameterError

ENV = "env:"
"""A key with this prefix names an environment variable, which holds the secret."""

GOLDEN, FIRST, SECOND = (
    np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def secret(key, name="key"):
    """Return the secret text of a key.

    Args:
        key: the text itself, or `env:NAME` for the value of an environment variable.
        name: the parameter, for the message.

    Raises:
        ParameterError: an empty key, or a variable that is not set.

    Example:
        >>> secret("correct horse")
        'correct horse'
    """
    if not key:
        raise ParameterError(
            f"{name} must be a secret text, or env:NAME for an environment variable that holds one"
        )
    if not key.startswith(ENV):
        return key
    value = os.environ.get(key.removeprefix(ENV))
    if not value:
        raise ParameterError(f"{name}={key!r}: the environment variable is not set")
    return value


def context_seeds(text, contexts):
    """Return a seed for each context: a keyed hash of its tokens (BLAKE2b).

    Args:
        text: the secret text.
        contexts: (contexts, width) token ids.

    Returns:
        (contexts,) uint64.
    """
    key = blake2b(text.encode()).digest()  # of fixed length: BLAKE2b takes keys up to 64 bytes
    hashes = (blake2b(row.tobytes(), key=key, digest_size=8) for row in contexts.astype("<i8"))
    return np.array([int.from_bytes(h.digest(), "little") for h in hashes], dtype=np.uint64)


def mix(seeds, ids):
    """Return a uniform 64-bit number for each pair of a seed and a token (SplitMix64's finaliser).

    Args:
        seeds: uint64, of a shape that broadcasts with the ids.
        ids: token ids, uint64.
    """
    z = seeds + (ids + np.uint64(1)) * GOLDEN
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))
