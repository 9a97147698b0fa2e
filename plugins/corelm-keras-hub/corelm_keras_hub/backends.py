"""The differences between the backends of Keras."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from corelm.errors import UsageError

BACKENDS = ("tensorflow", "jax", "torch")


def backend() -> str:
    """Return the backend that Keras runs on.

    Raises:
        UsageError: one that generates no text, such as NumPy.
    """
    name = str(keras.backend.backend())
    if name not in BACKENDS:
        choices = ", ".join(BACKENDS)
        raise UsageError(f"Keras runs on {name!r}; set KERAS_BACKEND to one of {choices}")
    return name


def on_accelerator(array: Any) -> bool:
    """Return True if the backend computes on something other than the processor.

    Args:
        array: one of the arrays that it computes with.
    """
    if backend() == "torch":
        return bool(array.device.type != "cpu")
    if backend() == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def not_converted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep TensorFlow from rewriting a function and the functions that it calls.

    TensorFlow rewrites Python's `if` and `for` into operations of a graph, which these don't need.
    """
    if backend() != "tensorflow":
        return function
    import tensorflow as tf

    converted: Callable[..., Any] = tf.autograph.experimental.do_not_convert(function)
    return converted


def outside_graph() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which arrays have values although a function is being traced."""
    if backend() == "jax":
        import jax

        return jax.ensure_compile_time_eval()
    if backend() == "tensorflow":
        import tensorflow as tf

        return tf.init_scope()
    return contextlib.nullcontext()


def compiled(
    network: Any, call: Callable[..., Any], donated: int | None = None
) -> Callable[..., Any]:
    """Return a function of arrays, compiled once for each of their shapes.

    Args:
        network: the Keras model whose weights the function uses.
        call: the function.
        donated: the index of an argument that is not used again: JAX writes into its memory.
    """
    if backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(call)
        # Calling the function itself makes TensorFlow warn of new shapes.
        return lambda *arrays: function.get_concrete_function(*arrays)(*arrays)
    if backend() == "torch":
        import torch

        return torch.no_grad()(call)
    import jax

    @partial(jax.jit, donate_argnums=() if donated is None else donated + 1)
    def stateless(weights: Any, *arrays: Any) -> Any:
        # As arguments, since weights that a function closes over become constants of its program.
        with keras.StatelessScope(state_mapping=zip(network.variables, weights, strict=True)):
            return call(*arrays)

    return lambda *arrays: stateless([v.value for v in network.variables], *arrays)
