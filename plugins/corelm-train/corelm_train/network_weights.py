"""The weights of Keras networks by name, as a model's folder keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.errors import ModelFileError


def weights_of(network: Any) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a Keras network by name."""
    return {variable.path: np.asarray(variable, dtype=np.float32) for variable in network.weights}


def set_weights(network: Any, weights: Mapping[str, NDArray[Any]]) -> None:
    """Assign weights to a Keras network by name.

    Raises:
        ModelFileError: weights whose names or shapes are not this network's.
    """
    variables = {variable.path: variable for variable in network.weights}
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    if expected != {name: weight.shape for name, weight in weights.items()}:
        raise ModelFileError("these are not the weights of this network")
    for name, variable in variables.items():
        variable.assign(weights[name])
