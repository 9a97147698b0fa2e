"""corelm's own models: networks, vocabularies, files, Keras, and the formats of other engines.

The models that ship with corelm, and the reader of models on disk, are offered like any others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from corelm import LanguageModel, ModelScheme, hookimpl
from corelm.toolkit import SHIPPED


@dataclass(frozen=True)
class FromBundle:
    """A function without arguments that loads the model in a folder, for a plugin to offer."""

    path: Path

    def __call__(self) -> LanguageModel:
        from corelm.models.bundle import read
        from corelm.models.numpy_model import NumpyModel

        bundle = read(self.path)
        return NumpyModel(bundle.architecture, bundle.vocabulary, bundle.weights, bundle.manifest)


def open_path(path: str) -> LanguageModel:
    """Open a folder that corelm has written, or a `.keras` file.

    Raises:
        ModelFileError: a model that is missing, damaged or foreign.
        MissingDependencyError: a `.keras` file, and Keras cannot be imported.
    """
    if not path.endswith(".keras"):
        return FromBundle(Path(path))()
    from corelm.models.keras_file import read_keras
    from corelm.models.keras_import import import_keras

    import_keras("a .keras file")  # before the file is looked for: it could not be read anyway
    return read_keras(Path(path))


@hookimpl
def corelm_models() -> Mapping[str, Callable[[], LanguageModel] | ModelScheme]:
    """Return two models of IMDB reviews, read from disk when they are loaded, and the reader."""
    folder = Path(__file__).with_name("pretrained")
    shipped = {name: FromBundle(folder / name) for name in SHIPPED}
    return {**shipped, "path": ModelScheme(open_path)}
