"""The models that ship with corelm, and the reader of models on disk, offered like any others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from corelm import LanguageModel, ModelScheme, hookimpl
from corelm.models.open_path import FromBundle, open_path
from corelm.toolkit import SHIPPED


@hookimpl
def corelm_models() -> Mapping[str, Callable[[], LanguageModel] | ModelScheme]:
    """Return two models of IMDB reviews, read from disk when they are loaded, and the reader."""
    shipped = {name: FromBundle(Path(__file__).with_name(name)) for name in SHIPPED}
    return {**shipped, "path": ModelScheme(open_path)}
