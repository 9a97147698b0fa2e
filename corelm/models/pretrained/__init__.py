"""The models that ship with corelm, offered through a plugin like any other model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from corelm.hookspecs import hookimpl
from corelm.language_model import LanguageModel
from corelm.models.load import SHIPPED, FromBundle


@hookimpl
def corelm_models() -> Mapping[str, Callable[[], LanguageModel]]:
    """Return two models of IMDB reviews, each of which is read from disk when it is loaded."""
    return {name: FromBundle(Path(__file__).with_name(name)) for name in SHIPPED}
