"""The identity of a model: the checksum of its files, or of a distribution that it computes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corelm.language_model import LanguageModel
from corelm.models.atomic_files import sha256

__all__ = ["digest_of_texts", "identity_of", "manifest_of"]


def manifest_of(model: LanguageModel) -> Mapping[str, Any]:
    """Return the manifest of a model; empty if it has none."""
    manifest = getattr(model, "manifest", None)
    return manifest if isinstance(manifest, Mapping) else {}


def checksum_of(model: LanguageModel) -> str | None:
    """Return the sha256 in the manifest of a model, which covers all its files, or None."""
    checksum = manifest_of(model).get("checksum")
    return checksum if isinstance(checksum, str) else None


def identity_of(model: LanguageModel, text: str) -> str:
    """Return a sha256 that distinguishes a model from others.

    Args:
        model: the model.
        text: for a model without a checksum, the text whose next-token distribution is hashed.

    Example:
        >>> from corelm.testing import ToyModel
        >>> len(identity_of(ToyModel(), "the"))
        64
    """
    checksum = checksum_of(model)
    if checksum is not None:
        return checksum
    ids = np.array([model.vocabulary.encode(text)], dtype=np.int64)
    distribution = np.asarray(model.next_token_distribution(ids))
    return sha256(distribution.tobytes())


def digest_of_texts(texts: Sequence[str]) -> str:
    """Return the checksum of several texts."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return whole.hexdigest()
