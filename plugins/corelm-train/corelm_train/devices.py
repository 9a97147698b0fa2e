"""The devices of this process that train one network together.

Every device holds all weights and computes an equal share of each batch: Keras's `DataParallel`.
It runs on JAX; Keras's `fit` does not work with TensorFlow's strategies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from corelm.errors import MissingDependencyError, TrainingError, UsageError

BACKENDS = ("tensorflow", "jax")

SEVERAL_PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"


class Devices:
    """The devices of a run.

    Args:
        distribution: Keras's distribution; None computes everything on one device.

    Attributes:
        count: the number of devices.
    """

    def __init__(self, distribution: Any = None) -> None:
        self._distribution = distribution
        self.count = 1 if distribution is None else distribution.device_mesh.devices.size

    @property
    def is_shared(self) -> bool:
        """Return True if every batch is shared among devices."""
        return self._distribution is not None

    def scope(self) -> AbstractContextManager[Any]:
        """Return a context in which Keras puts variables and batches on all devices."""
        return self._distribution.scope() if self.is_shared else nullcontext()

    def fill(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Pad a batch with rows, so that every device computes the same number of rows.

        Example:
            >>> devices = Devices()
            >>> devices.count = 3
            >>> devices.fill(np.array([[3, 4], [5, 6]])).tolist()
            [[3, 4], [5, 6], [0, 0]]
        """
        return np.pad(batch, ((0, -len(batch) % self.count), (0, 0)))


def connect(distribute: str | None) -> Devices:
    """Find the devices of a run.

    Args:
        distribute: `data` for all devices of this process, None for one device.

    Raises:
        MissingDependencyError: a Keras backend that can't distribute.
        UsageError: the environment configures Keras for several processes.
    """
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise MissingDependencyError(
            f"training needs Keras with the backend tensorflow or jax, not {backend}: "
            "set KERAS_BACKEND=tensorflow"
        )
    if distribute is None:
        return Devices()
    if backend != "jax":
        raise MissingDependencyError(
            f"training on several devices needs Keras with the backend jax, not {backend}: "
            "pip install jax, and set KERAS_BACKEND=jax"
        )
    # Each process would train separately, on a part of the data.
    if os.environ.get(SEVERAL_PROCESSES, "1") != "1":
        raise UsageError(
            f"{SEVERAL_PROCESSES} is set, and corelm trains in one process, on all its devices: "
            "unset it"
        )
    return Devices(keras.distribution.DataParallel())


@contextmanager
def undistributed() -> Iterator[None]:
    """Run a block on one device."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        yield
        return
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn a backend's out-of-memory error into an error of one sentence.

    Raises:
        TrainingError: out of memory.
    """
    try:
        yield
    except Exception as error:
        # TensorFlow has a class for it, JAX a word in the message of a general error.
        name = type(error).__name__
        if name in ("MemoryError", "ResourceExhaustedError") or "RESOURCE_EXHAUSTED" in str(error):
            raise TrainingError(
                "this needs more memory than there is: choose a smaller batch, vocabulary size or "
                "context length"
            ) from error
        raise
