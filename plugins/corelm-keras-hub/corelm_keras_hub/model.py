"""A causal language model of KerasHub as a language model of corelm, and its cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops, tree
from numpy.typing import ArrayLike, NDArray

import corelm
from corelm import Array
from corelm.errors import UsageError
from corelm.interop import CachedSession, DisplayableModel, check_session
from corelm.runs import start_rows
from corelm_keras_hub.backends import compiled
from corelm_keras_hub.vocabulary import KerasHubVocabulary, vocabulary_of

CONTEXT_LENGTH = 1024
"""The context of a network that has no limit, with a preprocessor that has none."""

WRONG_CACHE = (keras_hub.models.GPTNeoXCausalLM,)
"""Models whose passes over a cache disagree with their passes over whole texts: in KerasHub 0.32,
GPT-NeoX rotates each query as if it were the first token's (keras-hub 2870)."""


class KerasHubModel(DisplayableModel):
    """A causal language model of KerasHub, as a language model.

    Sessions use the model's own key/value cache. A model whose cache corelm cannot use, such as
    one that also reads images or has a recurrent state, is run on the whole text at each step.

    Args:
        causal_lm: a `keras_hub.models.CausalLM` with a preprocessor.
        ends: the ids that end a text, as `stop_token_ids` of `causal_lm.generate`; None for the
            tokenizer's.

    Attributes:
        vocabulary: its tokenizer.
        context_length: the largest number of tokens that it attends to: the limit of the network,
            or the sequence length of the preprocessor for a network without a limit.

    Raises:
        UsageError: another object, or a model without a preprocessor.
        CorelmError: sessions that, tried on a few tokens, lose a part of the model's state.
    """

    def __init__(self, causal_lm: Any, *, ends: Iterable[int] | None = None) -> None:
        if not isinstance(causal_lm, keras_hub.models.CausalLM):
            raise UsageError(
                f"expected a keras_hub.models.CausalLM, not {type(causal_lm).__name__}"
            )
        if causal_lm.preprocessor is None:
            raise UsageError("this model has no preprocessor, so its tokens have no text")
        self._causal_lm = causal_lm
        self.vocabulary: KerasHubVocabulary = vocabulary_of(
            causal_lm.preprocessor, causal_lm.output_shape[-1], ends
        )
        self.context_length: int = (
            getattr(causal_lm.backbone, "max_sequence_length", None)
            or causal_lm.preprocessor.sequence_length
            or CONTEXT_LENGTH
        )
        check_session(self.start, len(self.vocabulary), type(causal_lm).__name__)

    def start(self, tokens: ArrayLike) -> corelm.Session:
        """Start a decoding session for (batch, time) ids, or a list of ids for each row."""
        return start_rows(self._start_equal, tokens)

    def _start_equal(self, tokens: ArrayLike) -> CachedSession:
        if self._network is None:
            passes = FullPasses(self._full_pass, self.context_length)
            return CachedSession(passes, tokens, self.vocabulary, self.context_length)
        cache = CachedPasses(self._network, self.context_length)
        return KerasHubSession(cache, tokens, self.vocabulary, self.context_length)

    @cached_property
    def _network(self) -> Network | None:
        """The passes over new tokens and a cache; None if corelm cannot use the cache."""
        build = getattr(self._causal_lm, "_build_cache", None)
        if isinstance(self._causal_lm, WRONG_CACHE) or build is None:
            return None
        # A model that reads images too builds its cache from more than ids.
        if list(inspect.signature(build).parameters) != ["token_ids"]:
            return None
        return Network(self._causal_lm)

    @cached_property
    def _full_pass(self) -> Callable[[Any, Any], Any]:
        """The pass over whole texts: maps ids and a mask to logits."""
        model = self._causal_lm
        return compiled(model, lambda ids, mask: model({"token_ids": ids, "padding_mask": mask}))


class KerasHubSession(CachedSession):
    """A decoding session on the key/value cache of a KerasHub model."""

    def hidden_states(self, count: int) -> Array:
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""
        return self.last_outputs(count)[1]


Ids = NDArray[np.int64]
Outputs = tuple[Array, ...]

LEAST = 64
"""The smallest number of tokens that a cache has room for."""

CHUNK = 64
"""The most tokens in one pass: a pass scores the whole vocabulary at each token."""


class CachedPasses:
    """Passes over new tokens, for a model whose cache is indexed by position.

    The backend compiles a pass for each shape, so batches, tokens and the cache itself are padded
    to powers of two. Keys and values after the last token are never attended to, and the next
    tokens overwrite them: truncation needs no work.

    Args:
        network: the model's passes.
        context_length: the largest number of tokens.
    """

    def __init__(self, network: Network, context_length: int) -> None:
        self._network, self._context_length = network, context_length
        self._cache: Any = None
        self._length = self._capacity = 0

    def process(self, tokens: Ids, count: int) -> Outputs:
        """Append tokens to the rows; return logits and hidden states at the last of them."""
        time = tokens.shape[1]
        parts = [
            # Outputs from the first requested token on; a chunk before it returns none.
            self._process(tokens[:, first : first + CHUNK], max(first, time - count) - first)
            for first in range(0, time, CHUNK)
        ]
        return tuple(np.concatenate(outputs, axis=1) for outputs in zip(*parts, strict=True))

    def truncate(self, length: int) -> int:
        """Drop the tokens after the first of each row; return the number that remains."""
        self._length = min(length, self._length)
        if not self._length:  # the next batch may have another size
            self._cache, self._capacity = None, 0
        return self._length

    def select(self, rows: Ids) -> None:
        """Keep these rows in this order."""
        padded = np.pad(rows, (0, _power_of_two(len(rows)) - len(rows)), mode="edge")
        indices = ops.convert_to_tensor(padded, dtype="int32")
        self._cache = tree.map_structure(lambda leaf: ops.take(leaf, indices, axis=0), self._cache)

    def _process(self, tokens: Ids, first: int) -> Outputs:
        """Process a chunk; return the outputs at its tokens from `first` on."""
        batch, time = tokens.shape
        padded = self._padded(tokens)
        if (length := self._length + padded.shape[1]) > self._capacity:
            self._capacity = min(max(_power_of_two(length), LEAST), self._context_length)
            self._cache = self._network.resized(self._cache, len(padded), self._capacity)
        try:
            *outputs, self._cache = self._network(padded, self._cache, self._length)
        except BaseException:  # JAX may have overwritten the cache
            self._cache, self._length, self._capacity = None, 0, 0
            raise
        self._length += time
        arrays = (ops.convert_to_numpy(output)[:batch, first:time] for output in outputs)
        return tuple(array.astype(np.float32) for array in arrays)

    def _padded(self, tokens: Ids) -> Ids:
        batch, time = tokens.shape
        length = _power_of_two(time)
        # No room for padding: compile for the exact shape.
        if self._length + length > self._context_length:
            length = time
        more = (0, _power_of_two(batch) - batch), (0, length - time)
        return np.pad(tokens, more, mode="edge")


class FullPasses:
    """Passes over whole texts, for a model whose cache corelm cannot use.

    Args:
        network: the compiled model, a function of ids and a mask, both (batch, time).
        context_length: the largest number of tokens.
    """

    def __init__(self, network: Callable[[Any, Any], Any], context_length: int) -> None:
        self._network, self._context_length = network, context_length
        self._tokens: Ids = np.empty((0, 0), dtype=np.int64)

    def process(self, tokens: Ids, count: int) -> Outputs:
        """Append tokens to the rows and return the logits at the last of them."""
        before = self._tokens if self._tokens.size else tokens[:, :0]
        self._tokens = np.concatenate([before, tokens], axis=1)
        batch, time = self._tokens.shape
        length = min(_power_of_two(time), self._context_length)
        more = (0, _power_of_two(batch) - batch), (0, length - time)
        padded = np.pad(self._tokens, more, mode="edge"), np.pad(np.ones((batch, time)), more)
        arrays = (ops.convert_to_tensor(array, dtype="int32") for array in padded)
        logits = ops.convert_to_numpy(self._network(*arrays))
        return (logits[:batch, time - count : time].astype(np.float32),)

    def truncate(self, length: int) -> int:
        """Drop the tokens after the first of each row; return the number that remains."""
        self._tokens = self._tokens[:, :length]
        return self._tokens.shape[1]

    def select(self, rows: Ids) -> None:
        """Keep these rows in this order."""
        self._tokens = self._tokens[rows]


class Network(keras.Operation):
    """The passes of a model over new tokens and a cache.

    Args:
        causal_lm: a model of KerasHub with `call_with_cache` and `_build_cache(token_ids)`.
    """

    def __init__(self, causal_lm: Any) -> None:
        super().__init__()
        self._causal_lm = causal_lm
        self._pass = compiled(causal_lm, causal_lm.call_with_cache, donated=1)
        self._specs: dict[int, Any] = {}

    def __call__(self, tokens: Ids, cache: Any, index: int) -> tuple[Any, Any, Any]:
        """Return logits and hidden states, (batch, time, ...), and the new cache.

        Args:
            tokens: (batch, time) ids.
            cache: a cache with room for them, not to be used again.
            index: the number of tokens in the cache.
        """
        ids = ops.convert_to_tensor(tokens, dtype="int32")
        return self._pass(ids, cache, ops.convert_to_tensor(index, dtype="int32"))

    def resized(self, cache: Any, batch: int, capacity: int) -> Any:
        """Return a larger cache with the content of an earlier one, or an empty one.

        Args:
            cache: a cache of the same batch, or None.
        """
        if capacity not in self._specs:
            ids = keras.KerasTensor((1, capacity), dtype="int32")
            self._specs[capacity] = self.compute_output_spec(ids)
        larger = tree.map_structure(
            lambda spec: ops.zeros((batch, *spec.shape[1:]), spec.dtype), self._specs[capacity]
        )
        if cache is None:
            return larger
        return tree.map_structure(
            lambda new, old: ops.slice_update(new, [0] * len(new.shape), old), larger, cache
        )

    def call(self, token_ids: Any) -> Any:
        """Return a cache; Keras traces it for the shapes and never runs it."""
        return self._causal_lm._build_cache(token_ids)[1]


def _power_of_two(size: int) -> int:
    """Return the smallest power of two that is at least a size of 1 or more."""
    return 1 << (size - 1).bit_length()
