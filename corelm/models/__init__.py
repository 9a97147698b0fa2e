"""corelm's own models: networks, vocabularies, files, Keras, and the formats of other engines.

The models that ship with corelm, and the reader of models on disk, are offered like any others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from corelm.errors import ModelFileError, UsageError
from corelm.hookspecs import hookimpl
from corelm.registry.models import SHIPPED
from corelm.registry.packages import FORMATS, package_object
from corelm.registry.registry import registry

if TYPE_CHECKING:
    from corelm.hookspecs import ModelLoader
    from corelm.language_model import LanguageModel


@dataclass(frozen=True)
class FromBundle:
    """A function without arguments that loads the model in a folder, for a plugin to offer."""

    path: Path

    def __call__(self) -> LanguageModel:
        from corelm.models.bundle import Bundle
        from corelm.models.numpy_model import NumpyModel

        bundle = Bundle.read(self.path)
        return NumpyModel(bundle.architecture, bundle.vocabulary, bundle.weights, bundle.manifest)


def open_path(path: str) -> LanguageModel:
    """Open a folder that corelm has written, or a `.keras` file.

    Raises:
        UsageError: a model of another engine; the message has the way to open it.
        ModelFileError: a model that is missing, damaged or foreign.
        MissingDependencyError: a `.keras` file, and Keras cannot be imported.
    """
    if way := _way_to_open(path):
        raise UsageError(way)
    if not path.endswith(".keras"):
        return _open_folder(path)
    model: LanguageModel = package_object(FORMATS, "keras").read_keras(Path(path))
    return model


def _open_folder(path: str) -> LanguageModel:
    try:
        return FromBundle(Path(path))()
    except ModelFileError:
        if Path(path).exists() or not (name := re.fullmatch(_HUB, path)):
            raise
        raise UsageError(
            f"there is no model at {path!r}; a name of Hugging Face is opened as "
            f"transformers:{name[1]}"
        ) from None


class _EngineFormat(NamedTuple):
    """An engine's model format: its description, the scheme to open it, the scheme's package."""

    phrase: str
    scheme: str
    package: str


_GGUF = _EngineFormat("a file of llama.cpp", "gguf", "corelm-llama-cpp")
_TRANSFORMERS = _EngineFormat("a folder of transformers", "transformers", "corelm-transformers")
_HUB = r"(?:https://huggingface\.co/)?(\w[\w.-]*/[\w.-]+)"
_KERAS_HUB = _EngineFormat("a preset of KerasHub", "keras_hub", "corelm-keras-hub")


def _way_to_open(path: str) -> str | None:
    """Return how to open a model of another engine; None for every other path."""
    found = _format_of(Path(path))
    if found is None:
        return None
    way = f"{path} is {found.phrase}: open it as {found.scheme}:{path}"
    if any(source.entry_point == found.scheme for source in registry().sources()):
        return way
    return f"{way}, after installing {found.package}"


def _format_of(place: Path) -> _EngineFormat | None:
    try:
        if place.suffix.lower() == ".gguf" and place.is_file():
            return _GGUF
        # A model of corelm has a config.json too, next to its manifest.
        if not (place / "config.json").is_file() or (place / "manifest.json").is_file():
            return None
        return _KERAS_HUB if (place / "task.json").is_file() else _TRANSFORMERS
    except (OSError, ValueError):  # the system allows no such file name
        return None


@hookimpl
def corelm_models() -> Mapping[str, ModelLoader]:
    """Return two models of IMDB reviews, read from disk when they are loaded, and the reader."""
    from corelm.language_model import ModelScheme  # late: reports import the files alone

    folder = Path(__file__).with_name("pretrained")
    shipped = {name: FromBundle(folder / name) for name in SHIPPED}
    return {**shipped, "path": ModelScheme(open_path)}
