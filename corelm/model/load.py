"""Load a model by name or path."""

from __future__ import annotations

import os
from pathlib import Path

from corelm.language_model import LanguageModel
from corelm.plugins import registry


def load(name: str | os.PathLike[str]) -> LanguageModel:
    """The model of a name that a plugin offers, or of a bundle at a path.

    Example:
        >>> import corelm
        >>> len(corelm.load("imdb").vocabulary)
        15000
    """
    raise NotImplementedError
