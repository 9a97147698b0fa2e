"""Check the weights of a network: their names, as in Keras, and their shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from corelm import Array
from corelm.errors import ModelFileError
from corelm.models.architectures import Architecture
from corelm.models.networks import WEIGHT_SHAPES
from corelm.models.networks.shapes import Shapes
from corelm.models.vocabularies import StoredVocabulary

INFINITE = np.uint16(0x7C00)
"""The exponent of infinity and nan in half precision."""

CHUNK = 2**16


def check(a: Architecture, vocabulary: StoredVocabulary, weights: Mapping[str, Array]) -> None:
    """Raise if weights or a vocabulary do not fit an architecture, or weights are not finite.

    Raises:
        ModelFileError: as `check_fit`, or a weight that is not finite.
    """
    check_fit(a, vocabulary, weights)
    for name, weight in weights.items():
        if not _is_finite(weight):
            raise ModelFileError(f"the weights {name!r} hold numbers that are not finite")


def check_fit(a: Architecture, vocabulary: StoredVocabulary, weights: Mapping[str, Array]) -> None:
    """Raise if weights or a vocabulary do not fit an architecture.

    Raises:
        ModelFileError: a missing, extra or misshapen weight, or a vocabulary of the wrong size.
    """
    if len(vocabulary) != a.vocabulary_size:
        raise ModelFileError(
            f"the vocabulary has {len(vocabulary)} tokens, the network {a.vocabulary_size}"
        )
    if a.kind in ("default", "gpt2") and a.width % a.heads:
        raise ModelFileError(f"{a.heads} heads cannot share a width of {a.width}")
    check_shapes(a, {name: weight.shape for name, weight in weights.items()})


def _is_finite(weight: Array) -> bool:
    if weight.dtype != np.float16:
        return bool(np.isfinite(weight).all())
    # Ten times as fast as NumPy's isfinite of halves; in chunks that stay in the cache.
    exponents = weight.view(np.uint16).ravel()
    chunks = (exponents[i : i + CHUNK] & INFINITE for i in range(0, exponents.size, CHUNK))
    return all(chunk.max() < INFINITE for chunk in chunks)


def check_shapes(a: Architecture, found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise if the names and shapes of weights are not exactly an architecture's."""
    expected = shapes(a)
    for name, shape in expected.items():
        if name not in found:
            raise ModelFileError(f"the weights {name!r} are missing")
        if tuple(found[name]) != shape:
            raise ModelFileError(f"the weights {name!r} are {found[name]} instead of {shape}")
    foreign = sorted(found.keys() - expected.keys())
    if foreign:
        raise ModelFileError(f"a {a.kind} network has no weights {foreign[0]!r}")


def shapes(a: Architecture) -> Shapes:
    """Return the shape of every weight of an architecture, by name.

    Example:
        >>> shapes(Architecture("rnn", vocabulary_size=9, width=4))["embedding/embeddings"]
        (9, 4)
    """
    return WEIGHT_SHAPES[a.kind](a)
