"""mlx-lm's prompt cache, for a session of corelm."""

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from mlx_lm.models.cache import (
    BatchKVCache,
    KVCache,
    can_trim_prompt_cache,
    make_prompt_cache,
    trim_prompt_cache,
)

PREFILL = 2048
"""The number of tokens of a prompt that are processed at a time."""


class MlxCache:
    """A `KeyValueCache` of `corelm.interop` of a model of mlx-lm."""

    def __init__(self, model):
        self._model = model
        self._empty()

    def process(self, tokens, count, lengths=None):
        """Append tokens; return the logits at the last `count` of them."""
        before = tokens.shape[1] - count
        for start in range(0, before, PREFILL):
            self._pass(tokens[:, start : min(start + PREFILL, before)])
            # Lazy evaluation never computes these logits.
            mx.eval([layer.state for layer in self._cache])
        return (to_numpy(self._pass(tokens[:, before:])),)

    def truncate(self, length):
        """Drop the tokens after the first `length`; return the number that remains."""
        if length and can_trim_prompt_cache(self._cache):
            self._length -= trim_prompt_cache(self._cache, self._length - length)
        if self._length != length or not length:
            self._empty()
        return self._length

    def select(self, rows):
        """Keep these rows in this order."""
        index = mx.array(rows)
        for layer in self._cache:
            layer.state = tree_map(lambda part: _rows(part, index), layer.state)

    def _empty(self):
        self._cache, self._length = make_prompt_cache(self._model), 0

    def _pass(self, tokens):
        logits = self._model(mx.array(tokens), cache=self._cache)
        self._length += tokens.shape[1]
        return logits


class PaddedMlxCache(MlxCache):
    """A `PaddedCache` of `corelm.interop`: mlx-lm's own cache of a batch, which masks padding."""

    @staticmethod
    def fits(model):
        """Return True if the model's cache has a variant for rows of different lengths."""
        return all(type(layer) is KVCache for layer in make_prompt_cache(model))

    @property
    def positions(self):
        """The number of positions, padding included."""
        return self._length

    def empty(self):
        """Return an empty cache of the same model."""
        return PaddedMlxCache(self._model)

    def process(self, tokens, count, lengths=None):
        """Append tokens; return the logits at the last `count` of them."""
        if not self._length:
            self._cache = [BatchKVCache([0] * len(tokens)) for _ in self._cache]
        return super().process(tokens, count)

    def select(self, rows):
        """Keep these rows in this order; padding that all of them have is dropped."""
        index = mx.array(rows)
        for layer in self._cache:
            layer.filter(index)
        self._length = self._cache[0].size()

    def join(self, other):
        """Append the rows of another cache, with padding before shorter rows."""
        for layer, others in zip(self._cache, other._cache, strict=True):
            layer.extend(others)
        self._length = self._cache[0].size()

    def trim(self, positions):
        """Drop padding that all rows have."""
        if positions < self._length:
            self.select(range(self._cache[0].offset.size))


def to_numpy(array):
    """Convert an array to NumPy: half precision becomes float32, ids become int64."""
    if mx.issubdtype(array.dtype, mx.floating):
        return np.array(array.astype(mx.float32))
    return np.array(array).astype(np.int64)


def _rows(part, index):
    """Select rows of an array in a layer's state; return other parts of it unchanged."""
    return part[index] if isinstance(part, mx.array) and part.ndim else part
