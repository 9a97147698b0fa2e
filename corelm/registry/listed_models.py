"""List the models that can be loaded by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from corelm.errors import PluginError
from corelm.machine import ASIDE, home, is_bundle
from corelm.registry.loading import OWN, plugin_errors, stdout_to_stderr
from corelm.registry.offers import Offer, is_scheme
from corelm.registry.registry import registry
from corelm.text.printable import shown

__all__ = ["list_models"]

SHIPPED = ("gpt2", "imdb")
"""The models that come with corelm."""
READER = f"{OWN}:path"
"""The scheme that opens a folder or a file by its path."""

logger: logging.Logger = logging.getLogger("corelm")


class ListedModel(NamedTuple):
    """A model that can be loaded by name.

    Attributes:
        name: what `load` takes.
        source: the plugin that offers it, or its folder.
        path: its folder, if it is known; `Bundle.describe` reads more about it.
    """

    name: str
    source: str
    path: Path | None


def list_models(own: bool = False) -> list[ListedModel]:
    """Return every named model: first the plugins' models, then the models in corelm's home.

    A scheme lists the models that it finds on this machine, or its form if it finds none.

    Args:
        own: leave out the models of plugins, of which none is loaded: only corelm's own models and
            those in its home are listed, by name.

    Example:
        >>> "imdb" in [model.name for model in list_models(own=True)]
        True
    """
    if own:
        models = {name: ListedModel(name, name, None) for name in SHIPPED}
        models |= {path.name: ListedModel(path.name, str(path), path) for path in _home_bundles()}
        return [models[name] for name in sorted(models)]
    offered = [listed for offer in registry().offers("corelm_models") for listed in _listed(offer)]
    return offered + [ListedModel(path.name, str(path), path) for path in _home_bundles()]


def _home_bundles() -> list[Path]:
    """Return the folders of models in corelm's home."""
    folder, names = home() / "models", list[str]()
    with suppress(OSError):
        names = os.listdir(folder)
    # A killed write may have left the only good copy under the hidden name.
    left = {name[1 : -len(ASIDE)] for name in names if name[0] == "." and name.endswith(ASIDE)}
    listed = {name for name in names if name[0] != "."} | left
    return [path for name in sorted(listed) if is_bundle(path := folder / name)]


def _listed(offer: Offer) -> Iterator[ListedModel]:
    if offer.full_name == READER:  # models in corelm's home go by their names
        return
    if is_scheme(offer.value):
        rests = [offer.value.metavar]
        try:
            rests = installed(offer) or rests
        except PluginError as error:  # the others are listed all the same
            logger.warning("%s cannot list its models: %s", offer.full_name, error)
        yield from (ListedModel(f"{offer.name}:{rest}", offer.full_name, None) for rest in rests)
        return
    yield ListedModel(offer.name, offer.full_name, getattr(offer.value, "path", None))


def installed(offer: Offer) -> list[str]:
    """Return the models that a scheme finds on this machine.

    Raises:
        PluginError: the scheme failed, or returned no names.
    """
    with plugin_errors(), stdout_to_stderr():
        if isinstance(names := offer.value.installed(), str):
            raise PluginError(f"installed returned {shown(names)}; return a list of names")
        return [*map(str, names)]
