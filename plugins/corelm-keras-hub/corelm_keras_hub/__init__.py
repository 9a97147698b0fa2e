"""corelm's samplers in KerasHub, and KerasHub's models in corelm."""

import importlib
import typing

from corelm.interop import requirements

if typing.TYPE_CHECKING:
    from corelm_keras_hub.model import KerasHubModel
    from corelm_keras_hub.sampler import as_sampler

__all__ = ["KerasHubModel", "as_sampler"]

ENGINE = ("keras-hub", "0.32")
"""The engine, and its oldest version that works."""

_MODULES = {"KerasHubModel": "corelm_keras_hub.model", "as_sampler": "corelm_keras_hub.sampler"}
"""Names that are imported on first use: a list of models needs no Keras."""


def __getattr__(name: str) -> typing.Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with requirements.requires(*ENGINE):
        return getattr(importlib.import_module(_MODULES[name]), name)
