"""Open a model on disk by its path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corelm import LanguageModel
from corelm.errors import UsageError
from corelm.toolkit import is_path, list_models


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


def bundle_folder(name: str) -> Path:
    """Return the folder of a model by its name or path.

    Raises:
        UsageError: no model of that name, several, or one that is not a folder.
    """
    if is_path(name):
        return Path(name).expanduser()
    found = [model for model in list_models() if name in (model.name, model.source)]
    if len(found) == 1 and found[0].path is not None:
        return found[0].path
    if Path(name).is_dir():
        return Path(name)
    if len(found) == 1:
        raise UsageError(f"the model {name!r} is not a folder of corelm's")
    names = ", ".join(model.name for model in list_models() if model.path) or "none"
    number = "several models are" if found else "no model is"
    raise UsageError(f"{number} called {name!r}; there are, in folders: {names}")
