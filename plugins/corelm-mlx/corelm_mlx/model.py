"""A model of mlx-lm as a language model of corelm, its vocabulary and its prompt cache."""

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

from corelm.interop import (
    CachedSession,
    DisplayableModel,
    PaddedSession,
    check_session,
    vocabulary_of,
)
from corelm.runs import start_rows

UNLIMITED = 2**31
"""The context length of a model whose configuration names none."""
LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length")


class MlxModel(DisplayableModel):
    """A model of mlx-lm, with its tokenizer.

    Its sessions use mlx-lm's own prompt cache, and are tried once on a few tokens. Texts begin with
    the token that the tokenizer puts before them; chat templates are yours to apply.

    Args:
        model: a model of mlx-lm, such as `mlx_lm.load` returns.
        tokenizer: the model's.
        ends: the ids that end a text; None for `tokenizer.eos_token_ids`.

    Attributes:
        vocabulary: the tokens of the tokenizer.
        context_length: the largest number of tokens that the model attends to.

    Raises:
        CorelmError: a tokenizer with more tokens than the model has logits, or a model whose cache
            doesn't hold all of its state.
    """

    def __init__(self, model, tokenizer, *, ends=None):
        size = _setting(model, ("vocab_size",)) or len(tokenizer)
        self._model = model
        self.vocabulary = vocabulary_from(tokenizer, ends, size)
        self.context_length = _setting(model, LENGTHS) or UNLIMITED
        name = type(model).__module__.rpartition(".")[2]
        # A model that counts positions itself, or has a recurrent state, allows no padding.
        start_rows = self._start_padded if PaddedMlxCache.fits(model) else None
        self._pads = check_session(self._start_equal, size, name, start_rows=start_rows)

    def start(self, tokens):
        """Start a decoding session for (batch, time) ids, or a list of ids for each row."""
        if self._pads:
            return self._start_padded(tokens)
        return start_rows(self._start_equal, tokens)

    def _start_padded(self, tokens):
        cache = PaddedMlxCache(self._model)
        return PaddedSession(cache, tokens, self.vocabulary, self.context_length, self._model)

    def _start_equal(self, tokens):
        return CachedSession(MlxCache(self._model), tokens, self.vocabulary, self.context_length)


def _setting(model, names):
    """Return the first of these settings that the model's configuration has; None without one."""
    args = getattr(model, "args", None)
    # A model that also reads images nests its text settings.
    text = getattr(args, "text_config", None)
    places = [text if isinstance(text, dict) else {}, vars(args) if args is not None else {}]
    values = (place.get(name) for place in places for name in names)
    return next((value for value in values if isinstance(value, int)), None)


def vocabulary_from(tokenizer, ends=None, size=None):
    """Return the tokenizer of a model of mlx-lm as a vocabulary.

    Args:
        tokenizer: the model's, such as `mlx_lm.load` returns.
        ends: the ids at which mlx-lm ends a text; None for `tokenizer.eos_token_ids`, which mlx-lm
            reads from the model's configuration.
        size: the number of ids; None for the tokenizer's.
    """
    if ends is None:
        ends = getattr(tokenizer, "eos_token_ids", None)
    return vocabulary_of(tokenizer, size, None if ends is None else sorted(ends))


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
        for layer in self._cache:  # whose state has parts without rows, too
            layer.state = tree_map(
                lambda part: part[index] if isinstance(part, mx.array) and part.ndim else part,
                layer.state,
            )

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
