"""Load a model by name or path."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from corelm.errors import (
    AmbiguousNameError,
    CorelmError,
    PluginError,
    UnknownNameError,
    UsageError,
)
from corelm.language_model import LanguageModel
from corelm.model.paths import home
from corelm.plugins.loading import OWN
from corelm.plugins.offers import Offer
from corelm.plugins.registry import registry
from corelm.printable import did_you_mean, reason_of

MODEL = f"{OWN}:imdb"
"""The model to use when none is named: corelm's own, whatever other plugins offer."""
MANIFEST = "manifest.json"
"""The file that makes a folder a model."""

ASIDE = ".old"
"""The end of the hidden name that `atomic_files` gives to a folder while it replaces it."""

Loader = Callable[[], LanguageModel]


@dataclass(frozen=True)
class FromBundle:
    """A function without arguments that loads the model in a folder, for a plugin to offer."""

    path: Path

    def __call__(self) -> LanguageModel:
        from corelm.model.bundle import read
        from corelm.model.numpy_model import NumpyModel

        bundle = read(self.path)
        return NumpyModel(bundle.architecture, bundle.vocabulary, bundle.weights, bundle.manifest)


@dataclass(frozen=True)
class Listed:
    """A model that can be loaded by name.

    Attributes:
        name: what `load` takes.
        source: the plugin that offers it, or its folder.
        path: its folder, if it is known; `bundle.describe` reads more about it.
    """

    name: str
    source: str
    path: Path | None


def load(name: str | os.PathLike[str]) -> LanguageModel:
    """Load a model by name or path.

    Args:
        name: a name that a plugin offers; or a model in the folder `models` of corelm's home,
            or in the current folder; or the path of a folder or of a `.keras` file.

    Raises:
        UnknownNameError: no model of that name; the message has the nearest names.
        AmbiguousNameError: several; the message tells them apart.
        ModelFileError: a model that is missing, damaged or foreign.

    Example:
        >>> import corelm
        >>> len(corelm.load("imdb").vocabulary)
        15000
    """
    return _from_path(Path(name).expanduser()) if _is_path(name) else _from_name(str(name))


def label(name: str) -> str:
    """Return the name of a model for people: one of corelm's own goes without its plugin.

    Example:
        >>> label(MODEL)
        'imdb'
    """
    return name.removeprefix(f"{OWN}:")


def list_models() -> list[Listed]:
    """Return every model with a name: those of plugins, then those in corelm's home."""
    offered = [_listed(offer) for offer in registry().models()]
    folder = home() / "models"
    found = sorted({path for entry in _entries(folder) if (path := _written_path(entry))})
    return offered + [Listed(path.name, str(path), path) for path in found if _is_bundle(path)]


def bundle_folder(name: str) -> Path:
    """Return the folder of a model by its name or path.

    Raises:
        UsageError: no model of that name, several, or one that is not a folder.
    """
    if _is_path(name):
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


def _written_path(entry: Path) -> Path | None:
    """Return the path of a model from its entry in a folder; None for other hidden files."""
    name = entry.name
    if not name.startswith("."):
        return entry
    return entry.with_name(name[1 : -len(ASIDE)]) if name.endswith(ASIDE) else None


def _listed(offer: Offer) -> Listed:
    path = offer.value.path if isinstance(offer.value, FromBundle) else None
    return Listed(offer.name, offer.full_name, path)


def _is_path(name: str | os.PathLike[str]) -> bool:
    if not isinstance(name, str):
        return True
    return "/" in name or os.sep in name or name.endswith(".keras") or name in (".", "..", "~")


def _from_path(path: Path) -> LanguageModel:
    if path.suffix == ".keras":
        from corelm.model.keras_file import read_keras

        return read_keras(path)
    return FromBundle(path)()


def _from_name(name: str) -> LanguageModel:
    places = {str(home() / "models" / name), os.path.join(".", name)}
    choices: dict[str, Loader] = {
        place: FromBundle(Path(place)) for place in sorted(places) if _is_bundle(Path(place))
    }
    # To find a name that is not an entry point, every plugin is imported. A model that is here
    # spares that.
    if not choices or name in {source.entry_point for source in registry().sources()}:
        try:
            offer = registry().find("corelm_models", name)
            choices[offer.full_name] = partial(_from_plugin, offer)
        except UnknownNameError as error:
            if not choices:
                raise _unknown(name, error) from None
    if len(choices) > 1:
        raise AmbiguousNameError(
            f"{len(choices)} models are called {name!r}; say which one: {' or '.join(choices)}"
        )
    return next(iter(choices.values()))()


def _from_plugin(offer: Offer) -> LanguageModel:
    loader: Loader = offer.value
    try:
        return loader()
    except (CorelmError, KeyboardInterrupt):
        raise
    except BaseException as error:
        reason = reason_of(error)
        raise PluginError(f"the model {offer.full_name} could not be loaded: {reason}") from error


def _unknown(name: str, error: UnknownNameError) -> UnknownNameError:
    if any(name in (source.entry_point, str(source)) for source in registry().failures):
        return error  # with the reason why the plugin of that name failed
    names = sorted({model.name for model in list_models()})
    hint = did_you_mean(name, names)
    return UnknownNameError(
        f"there is no model {name!r}{hint} (there are: {', '.join(names) or 'none'}; "
        f"for a folder or a .keras file give its path, such as ./{name})"
    )


def _is_bundle(path: Path) -> bool:
    """Return True for a model's folder, also one that was put aside when a write was killed."""
    try:
        place = path if path.exists() else path.with_name(f".{path.name}{ASIDE}")
        return (place / MANIFEST).is_file()
    except (OSError, ValueError):
        return False


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
