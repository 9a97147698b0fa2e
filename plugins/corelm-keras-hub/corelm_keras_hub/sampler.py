"""A corelm sampler for `causal_lm.compile(sampler=...)`, and its steps on each backend of Keras."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops
from numpy.typing import NDArray

import corelm
from corelm import RandomStream, Sampler
from corelm.errors import UsageError
from corelm.interop import EngineSampler
from corelm_keras_hub.backends import backend, not_converted, on_accelerator, outside_graph
from corelm_keras_hub.vocabulary import vocabulary_of


def as_sampler(sampler: Sampler | str, *, seed: int | None = None) -> CorelmSampler:
    """Return a corelm sampler for `causal_lm.compile(sampler=...)`.

    Without a seed, KerasHub draws from the sampler's distribution with a seed generator of its
    own. With a seed, the texts are the same as from `corelm.generate` with that seed: row i of the
    batch is sample i.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to KerasHub.

    Raises:
        UnknownNameError: no sampler of that name.
        UsageError: a seed that is not a whole number of at least 0.

    Example:
        >>> as_sampler("top_k(k=50) | temperature(t=0.8)", seed=1).sampler
        top_k(k=50) | temperature(t=0.8)
    """
    return CorelmSampler(sampler, seed)


@keras.saving.register_keras_serializable(package="corelm")
class CorelmSampler(keras_hub.samplers.RandomSampler):
    """A KerasHub sampler that draws from the distribution of a corelm sampler.

    KerasHub's loop passes probabilities only to `get_next_token`; logits and tokens appear in the
    function `next`, which this class wraps.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to KerasHub.

    Attributes:
        sampler: the corelm sampler.
    """

    def __init__(self, sampler: Sampler | str, seed: int | None = None) -> None:
        super().__init__()
        EngineSampler(sampler, seed=seed)  # raises for a bad seed
        self.sampler = corelm.sampler(sampler)
        self.seed = seed

    @not_converted
    def __call__(
        self,
        next: Any,
        prompt: Any,
        index: Any = 0,
        mask: Any = None,
        stop_token_ids: Any = None,
        model: Any = None,
        **options: Any,
    ) -> Any:
        """Generate tokens after the prompts; the interface of every KerasHub sampler."""
        step = self._step(prompt, index, mask, stop_token_ids, model)

        def next_of_sampler(prompt: Any, cache: Any, index: Any) -> tuple[Any, Any, Any]:
            logits, hidden, cache = next(prompt, cache, index)
            return step(ops.cast(logits, "float32"), prompt, index), hidden, cache

        return super().__call__(
            next_of_sampler,
            prompt=prompt,
            index=index,
            mask=mask,
            stop_token_ids=stop_token_ids,
            model=model,
            **options,
        )

    def get_next_token(self, probabilities: Any) -> Any:
        """Return the token drawn already, or draw one with KerasHub's seed generator."""
        if self.seed is None:
            return super().get_next_token(probabilities)
        return ops.argmax(probabilities, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this sampler, for KerasHub to save."""
        return {"sampler": repr(self.sampler), "seed": self.seed}

    def _step(self, prompt: Any, index: Any, mask: Any, stop: Any, model: Any) -> Step:
        preprocessor = getattr(model, "preprocessor", None)
        stop = tuple(stop or ())  # KerasHub names the ids of each generation
        vocabulary = preprocessor and vocabulary_of(preprocessor, model.output_shape[-1], stop)
        engine = EngineSampler(self.sampler, seed=self.seed, vocabulary=vocabulary)
        if mask is None:  # every row is filled up to the index
            mask = ops.broadcast_to(ops.arange(ops.shape(prompt)[1]) < index, ops.shape(prompt))
        lengths = ops.sum(ops.cast(mask, "int32"), axis=-1)
        return make_step(engine, self.seed, prompt, lengths, stop, model)


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
        time = texts.shape[1]
        ends = np.isin(texts, self._stop) & (np.arange(time) >= lengths[:, None])
        rows = np.flatnonzero((time >= lengths) & ~ends.any(axis=1))
        if len(rows) == len(texts):  # the usual case, without copies
            result = self._engine(logits, texts, rows)
            return result.copy() if np.may_share_memory(result, logits) else result
        result = np.array(logits, dtype=np.float32)
        if len(rows):
            result[rows] = self._engine(result[rows], texts[rows], rows)
        return result


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
