"""The devices that train one network together, in this process and in others.

Each device computes an equal share of every batch, and every device holds all weights: Keras calls
it `DataParallel`. It runs on JAX; Keras's `fit` does not work with TensorFlow's strategies.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from corelm.errors import CorelmError, MissingDependencyError, TrainingError
from corelm.training.processes import PATIENCE, job_of_processes, wait_for_first

T = TypeVar("T")

BACKENDS = ("tensorflow", "jax")

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ends."""

SHUTDOWN = 10
"""Seconds that a process waits for the others at its end."""


class Devices:
    """The devices of a run, and the part of this process in it.

    Args:
        distribution: Keras's distribution; None computes everything on one device.

    Attributes:
        count: devices of all processes.
        process: the number of this process, from 0.
        processes: processes that train together.
    """

    def __init__(self, distribution: Any = None) -> None:
        self._distribution = distribution
        self.count, self.process, self.processes = 1, 0, 1
        if distribution is not None:
            import jax

            self.count = jax.device_count()
            self.process, self.processes = jax.process_index(), jax.process_count()

    @property
    def is_first(self) -> bool:
        """Return True in the process that measures the network and writes all files."""
        return self.process == 0

    @property
    def is_shared(self) -> bool:
        """Return True if a batch is shared, be it among the devices of one process."""
        return self._distribution is not None

    def scope(self) -> AbstractContextManager[Any]:
        """Return a context in which Keras puts variables and batches on all devices."""
        return self._distribution.scope() if self.is_shared else nullcontext()

    def share(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Return the rows of a batch that the devices of this process compute.

        The batch is filled with rows of padding, so that every device gets as many.

        Example:
            >>> Devices().share(np.array([[3, 4], [5, 6]])).tolist()
            [[3, 4], [5, 6]]
        """
        each = -(-len(batch) // self.count) * (self.count // self.processes)
        padded = np.pad(batch, ((0, each * self.processes - len(batch)), (0, 0)))
        return padded[each * self.process : each * (self.process + 1)]

    def by_first(self, work: Callable[[], T]) -> T:
        """Do some work in the first process alone; return its result in all of them.

        Args:
            work: its result is anything that JSON can hold.

        Raises:
            TrainingError: in the others, the error that the work ended with in the first.
        """
        if self.processes == 1:
            return work()
        result, error = None, None
        if self.is_first:
            try:
                result = work()
            except CorelmError as raised:
                error = raised
        answer = self._from_first({"result": result, "error": error and str(error)})
        if error is not None:
            raise error
        if answer["error"] is not None:
            raise TrainingError(f"the first process ended: {answer['error']}")
        return answer["result"]  # type: ignore[no-any-return]

    def agree(self, identity: Mapping[str, Any]) -> None:
        """Refuse to train with a process that has other settings or other data.

        Raises:
            TrainingError: this process differs from the first.
        """
        own = json.loads(json.dumps(identity))
        first = self.by_first(lambda: own)
        differing = [
            f"{name} is {own[name]!r}, not {value!r}"
            for name, value in first.items()
            if own[name] != value
        ]
        if differing:
            raise TrainingError(
                f"process {self.process} trains something other than the first one: "
                f"{'; '.join(differing)}; give all of them the same command and data"
            )

    def arrays_of_first(self, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the arrays of the first process in all; the others give arrays of their shapes."""
        if self.processes == 1:
            return arrays
        from jax.experimental.multihost_utils import broadcast_one_to_all

        return [np.asarray(array) for array in broadcast_one_to_all(arrays)]

    def _from_first(self, value: Any) -> Any:
        content = np.frombuffer(json.dumps(value).encode(), np.uint8)
        [size] = self.arrays_of_first([np.array(len(content), np.int32)])
        [content] = self.arrays_of_first([np.resize(content, int(size))])
        return json.loads(content.tobytes())


def connect(distribute: str | None) -> Devices:
    """Find the devices of a run; with other processes, wait until all of them are there.

    Args:
        distribute: `data` for all devices of all processes, None for one device.

    Raises:
        MissingDependencyError: another backend of Keras than this needs.
        UsageError: variables of the environment that do not say which processes there are.
        TrainingError: the other processes do not answer.
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
    job = job_of_processes()
    if job is not None:
        _join(*job)
    return Devices(keras.distribution.DataParallel(auto_shard_dataset=False))


def _join(address: str, processes: int, process: int) -> None:
    """Join the other processes, as `keras.distribution.initialize` does, but wait less at the end.

    All processes end together, so one that is missing then has died.
    """
    import jax

    atexit.unregister(_end)
    if jax.distributed.is_initialized():
        return
    if process:
        wait_for_first(address)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # type: ignore[no-untyped-call]
    try:
        jax.distributed.initialize(
            address,
            processes,
            process,
            initialization_timeout=PATIENCE,
            shutdown_timeout_seconds=SHUTDOWN,
        )
    except RuntimeError as error:
        raise TrainingError(
            f"the processes of this training did not find each other at {address}: "
            f"{_first_line(error)}"
        ) from error


@contextmanager
def undistributed() -> Iterator[None]:
    """Let a block compute on one device of this process, without the others."""
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
def device_errors(devices: Devices) -> Iterator[None]:
    """Say in one line that memory is used up, or that another process has ended.

    Raises:
        TrainingError: either of them.
    """
    try:
        yield
    except KeyboardInterrupt:
        if devices.processes > 1:
            _leave(INTERRUPTED)
        raise
    except (MemoryError, RuntimeError, ValueError, _tensorflow_error()) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in _status(error):
            raise TrainingError(
                "this needs more memory than there is: choose a smaller batch, vocabulary size or "
                "context length"
            ) from error
        if devices.processes > 1 and _is_of_transport(error):
            _leave(1)
            raise TrainingError(
                f"another process of this training has ended ({_first_line(error)}); "
                "continue with --resume in all of them"
            ) from error
        raise


def _leave(code: int) -> None:
    """End this program without the others, which JAX would wait for and then abort it.

    Functions that are registered last are called first, so this comes before JAX's own end. A
    training that the program begins after all calls it off.
    """
    atexit.register(_end, code)


def _end(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _tensorflow_error() -> type[Exception]:
    if keras.backend.backend() != "tensorflow":
        return MemoryError
    import tensorflow as tf

    return tf.errors.ResourceExhaustedError  # type: ignore[no-any-return]


def _status(error: BaseException) -> str:
    exhausted = type(error).__name__ == "ResourceExhaustedError"
    return "RESOURCE_EXHAUSTED" if exhausted else str(error)


def _is_of_transport(error: BaseException) -> bool:
    """Return True if a process could not reach another; CPUs reach each other through Gloo."""
    return type(error).__name__ == "JaxRuntimeError" or "Gloo" in str(error)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
