"""One step of a sampler in KerasHub's loop, on each backend of Keras."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from corelm import RandomStream
from corelm.errors import UsageError
from corelm.interop import EngineSampler
from corelm_keras_hub.backends import backend, on_accelerator, outside_graph

Step = Callable[[Any, Any, Any], Any]
"""Maps logits (batch, vocabulary), ids (batch, time) and the position of the next token to the
logits that KerasHub draws from."""

ON_HOST = "%s leaves the accelerator at each step, because it %s"
NO_CALLBACK = (
    "{sampler!r} cannot run in a function that TensorFlow compiles with XLA, because it {reason}; "
    "compile the model with jit_compile=False"
)
NO_SHAPE = (
    "with a seed, a function that TensorFlow compiles with XLA needs prompts of a fixed shape, "
    "not {shape}; compile the model with jit_compile=False"
)

logger = logging.getLogger("corelm")


class HostStep:
    """A step in NumPy, where corelm has kernels; a graph calls back into Python for it.

    Args:
        engine: the sampler.
        lengths: (batch,) numbers of tokens in the prompts, with the start token.
        stop: ids that end a text.
    """

    def __init__(self, engine: EngineSampler, lengths: Any, stop: Sequence[int]) -> None:
        self._engine, self._lengths, self._stop = engine, lengths, stop

    def __call__(self, logits: Any, prompt: Any, index: Any) -> Any:
        arrays = logits, prompt, index, self._lengths
        if backend() == "jax":
            import jax
            from jax.experimental import io_callback

            # JAX may skip or repeat a pure_callback, but the engine must get each step exactly
            # once.
            return io_callback(
                self.on_host, jax.ShapeDtypeStruct(logits.shape, np.float32), *arrays
            )
        if backend() == "tensorflow":
            import tensorflow as tf

            result = tf.numpy_function(self.on_host, arrays, tf.float32)
            return tf.ensure_shape(result, logits.shape)
        return ops.convert_to_tensor(self.on_host(*map(ops.convert_to_numpy, arrays)))

    def on_host(self, *arrays: Any) -> NDArray[np.float32]:
        """Return the sampler's logits for the rows whose prompt has ended and whose text has not.

        The other rows keep the model's logits: KerasHub ignores what it draws from them.
        """
        logits, prompt, index, lengths = map(np.asarray, arrays)
        texts = prompt[:, : int(index)]
        # A compiled function is called again for the next batch, with the same object.
        if int(index) <= lengths.min():
            self._engine.reset()
        rows = self._open_rows(texts, lengths)
        if len(rows) == len(texts):  # the usual case, without copies
            result = self._engine(logits, texts, rows)
            return result.copy() if np.may_share_memory(result, logits) else result
        result = np.array(logits, dtype=np.float32)
        if len(rows):
            result[rows] = self._engine(result[rows], texts[rows], rows)
        return result

    def _open_rows(self, texts: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int64]:
        """Return the rows whose prompt has ended and whose text has not."""
        time = texts.shape[1]
        ends = np.isin(texts, self._stop) & (np.arange(time) >= lengths[:, None])
        return np.flatnonzero((time >= lengths) & ~ends.any(axis=1))


class NativeDraw:
    """A step that draws with the backend's own arrays, from a table of uniform numbers.

    Args:
        engine: the sampler, portable.
        lengths: (batch,) numbers of tokens in the prompts.
        uniforms: (batch, positions) in float64.
    """

    def __init__(self, engine: EngineSampler, lengths: Any, uniforms: NDArray[np.float64]) -> None:
        self._engine, self._lengths, self._uniforms = engine, lengths, uniforms

    def __call__(self, logits: Any, prompt: Any, index: Any) -> Any:
        position = ops.maximum(ops.cast(index, "int32") - self._lengths, 0)[:, None]
        uniform = ops.take_along_axis(ops.convert_to_tensor(self._uniforms), position, axis=1)
        # The same draw as `corelm.draw`, which checks its arguments and so can't be in a graph.
        sums = ops.cumsum(ops.softmax(ops.cast(self._engine.native(logits), "float64")), axis=-1)
        total = sums[:, -1:]
        before = ops.logical_and(sums <= uniform * total, sums < total)
        token = ops.sum(ops.cast(before, "int32"), axis=-1, keepdims=True)
        return ops.where(ops.arange(logits.shape[-1]) == token, 0.0, -np.inf)


def make_step(
    engine: EngineSampler,
    seed: int | None,
    prompt: Any,
    lengths: Any,
    stop: Sequence[int],
    model: Any,
) -> Step:
    """Return the step that suits the backend.

    On a processor, corelm's kernels are faster than the backend's functions, even from inside a
    graph. On an accelerator, a portable sampler leaves the logits where they are.

    Args:
        engine, lengths, stop: as for `HostStep`.
        seed: the engine sampler's seed.
        prompt: (batch, time) ids.
        model: the causal language model, or None.

    Raises:
        UsageError: a sampler that needs Python in a function compiled with XLA; another backend.
    """
    # Only TensorFlow's loop with XLA can't call back into Python.
    by_xla = model is not None and not model.run_eagerly and model.jit_compile
    compiled = by_xla and backend() == "tensorflow"
    if not compiled and (seed is not None or not on_accelerator(prompt)):
        return HostStep(engine, lengths, stop)
    reason = _why_not_native(engine)
    if reason and compiled:
        raise UsageError(NO_CALLBACK.format(sampler=engine.sampler, reason=reason))
    if reason:
        logger.warning(ON_HOST, engine.sampler, reason)
        return HostStep(engine, lengths, stop)
    if seed is None:
        return lambda logits, prompt, index: engine.native(logits)
    return NativeDraw(engine, lengths, _uniforms(seed, prompt.shape))


def _why_not_native(engine: EngineSampler) -> str:
    """Return the reason why a sampler needs NumPy; empty if it does not."""
    if engine.reads:
        return f"reads the {' and the '.join(sorted(engine.reads))} of a text"
    with outside_graph():
        portable = engine.is_native(ops.zeros((1, 1)))
    return "" if portable else "calls functions that need NumPy"


def _uniforms(seed: int, shape: Sequence[int | None]) -> NDArray[np.float64]:
    """Return the uniform numbers of each row at each position, (batch, time)."""
    batch, time = shape
    if batch is None or time is None:
        raise UsageError(NO_SHAPE.format(shape=tuple(shape)))
    stream = RandomStream(seed, range(batch))
    return np.stack([stream.at(position) for position in range(time)], axis=1)
