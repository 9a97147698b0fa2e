"""corelm's samplers in KerasHub, and KerasHub's models in corelm."""

import typing

from corelm.interop import requirements

if typing.TYPE_CHECKING:
    from corelm_keras_hub.model import KerasHubModel
    from corelm_keras_hub.sampler import as_sampler

__all__ = ["KerasHubModel", "as_sampler"]

ENGINE = requirements.requires("keras-hub", "0.32")
"""The engine, and its oldest version that works."""

__getattr__ = ENGINE.lazy_names(__name__, {"KerasHubModel": "model", "as_sampler": "sampler"})
