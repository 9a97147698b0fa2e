"""The model that ships with corelm; it reaches the core as anybody's does, as a plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from corelm.hookspecs import hookimpl
from corelm.language_model import LanguageModel
from corelm.model.load import FromBundle


@hookimpl
def corelm_models() -> Mapping[str, Callable[[], LanguageModel]]:
    """IMDB reviews; read from disk only when it is asked for."""
    return {"imdb": FromBundle(Path(__file__).with_name("imdb"))}
