"""Train a network with Keras. The settings are read without it; a training run imports it.

Programs that train by themselves have `train`, a `TrainingRun` of `TrainingSettings`, and the
`PRESETS`. `build` returns the Keras network of an architecture, `KerasLanguageModel` is a language
model on such a network, and `weights_of` has its weights as the NumPy models read them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "PRESETS": "corelm_train.settings",
    "KerasLanguageModel": "corelm_train.keras_model",
    "TrainingRun": "corelm_train.run",
    "TrainingSettings": "corelm_train.settings",
    "build": "corelm_train.keras_layers",
    "train": "corelm_train.run",
    "weights_of": "corelm_train.network_weights",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
