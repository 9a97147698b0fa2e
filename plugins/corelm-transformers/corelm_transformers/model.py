"""A model of transformers as a language model of corelm, and its key/value cache."""

import inspect
import logging
from copy import copy, deepcopy
from functools import partial

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from corelm import CorelmError
from corelm.interop import (
    CachedSession,
    DisplayableModel,
    PaddedSession,
    check_session,
    vocabulary_of,
)
from corelm.runs import start_rows
from corelm_transformers.caller import end_tokens

logger = logging.getLogger("corelm.transformers")

UNLIMITED = 2**31
"""The context length of a model whose configuration names none."""


class TransformersModel(DisplayableModel):
    """A causal language model of transformers, with its tokenizer.

    Its sessions use transformers' own key/value cache, on the device of the model. They are tried
    once on a few tokens: a cache that cannot drop tokens is read again instead. Texts begin with
    the token that the tokenizer puts before them; chat templates are yours to apply.

    Args:
        model: a model with a language modeling head, such as `AutoModelForCausalLM` loads.
        tokenizer: the model's.

    Attributes:
        vocabulary: the tokens of the tokenizer.
        context_length: the largest number of tokens that the model attends to.

    Raises:
        CorelmError: a model that isn't a causal language model, whose cache doesn't hold all of its
            state, or a tokenizer with more ids.
    """

    def __init__(self, model, tokenizer):
        head = model.get_output_embeddings()
        if head is None or model.config.is_encoder_decoder:
            raise CorelmError(f"{type(model).__name__} is not a causal language model")
        config = model.config.get_text_config()
        size = config.vocab_size
        self._model = model.eval()
        ends = end_tokens(getattr(model, "generation_config", None), tokenizer, size)
        self.vocabulary = vocabulary_of(tokenizer, size, ends)
        self.context_length = getattr(config, "max_position_embeddings", None) or UNLIMITED
        self._crops = True
        # A session that can't drop tokens is tried again as one that never does. A model that
        # counts positions itself, or has a recurrent state, allows no padding.
        self._pads = check_session(
            self._start_equal, size, type(model).__name__, "transformers",
            partial(setattr, self, "_crops", False), logger, self._start_padded,
        )  # fmt: skip

    def start(self, tokens):
        """Start a decoding session for (batch, time) ids, or a list of ids for each row."""
        if self._pads:
            return self._start_padded(tokens)
        return start_rows(self._start_equal, tokens)

    def _start_padded(self, tokens):
        cache = TransformersCache(self._model, self._crops)
        return PaddedTransformersSession(
            cache, tokens, self.vocabulary, self.context_length, self._model
        )

    def _start_equal(self, tokens):
        cache = TransformersCache(self._model, self._crops)
        return TransformersSession(cache, tokens, self.vocabulary, self.context_length)


ARGUMENTS = ("cache", "past_key_values", "cache_params")
"""The argument of `forward` for the cache: the newest name first, Mamba's last."""


class _Forked:
    """The part of a session of transformers that corelm's base classes lack."""

    def hidden_states(self, count):
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""
        return self.last_outputs(count)[1]

    def fork(self):
        """Return an independent copy of the session."""
        self.last_outputs(1)  # before the fork, so that they are computed once
        other = copy(self)
        other._window, other._cache = self._window.fork(), self._cache.fork()
        return other


class TransformersSession(_Forked, CachedSession):
    """A `CachedSession` that can be forked, and also returns hidden states."""


class PaddedTransformersSession(_Forked, PaddedSession):
    """A `PaddedSession` that can be forked, and also returns hidden states."""


class TransformersCache:
    """A `PaddedCache` of `corelm.interop` of a transformers model.

    Args:
        model: the model.
        crops: True to drop tokens from transformers' cache; if False, it is emptied instead.
    """

    def __init__(self, model, crops=True):
        self._crops = crops
        self._model, self._head = model, model.get_output_embeddings()
        parameters = inspect.signature(model.forward).parameters
        self._keeps = "logits_to_keep" in parameters
        self._positioned = "position_ids" in parameters
        self._argument = next((name for name in ARGUMENTS if name in parameters), None)
        if self._argument is None:
            raise CorelmError(f"{type(model).__name__} takes no key/value cache")
        self._cache, self._length = None, 0

    @property
    def positions(self):
        """The number of positions, padding included."""
        return 0 if self._cache is None else self._length

    def empty(self):
        """Return an empty cache of the same model."""
        return TransformersCache(self._model, self._crops)

    def fork(self):
        """Return a copy."""
        other = copy(self)
        other._cache = deepcopy(self._cache)
        return other

    def process(self, tokens, count, lengths=None):
        """Append tokens; return the logits and the hidden states at the last `count` of them.

        Rows with fewer tokens than positions get a mask for the padding before them, and positions
        that count from their first token.
        """
        if lengths is not None and (lengths < self.positions).any():
            return self._pass(tokens, count, torch.from_numpy(lengths))
        if self._cache is None:
            self._cache, self._length = _empty_cache(self._model.config), 0
        if self._length and any(self._cache.is_linear):
            # transformers' Mamba is off by 1e-4 for several tokens after a recurrent state.
            passes = [self._pass(tokens[:, i : i + 1], 1) for i in range(tokens.shape[1])]
            logits, hidden = zip(*passes[-count:], strict=True)
            return np.concatenate(logits, axis=1), np.concatenate(hidden, axis=1)
        return self._pass(tokens, count)

    def _pass(self, tokens, count, lengths=None):
        """Process tokens in one pass of the model."""
        ids = torch.from_numpy(np.ascontiguousarray(tokens)).to(self._model.device)
        options = {self._argument: self._cache, "use_cache": True}
        if self._keeps:
            options["logits_to_keep"] = count
        new, before = tokens.shape[1], self._length
        self._length += new
        if self._positioned:  # without positions, Bamba counts from 0 in every pass
            first = torch.tensor([before]) if lengths is None else lengths
            options["position_ids"] = (first[:, None] + torch.arange(new)).to(ids.device)
        if lengths is not None:
            padding = before - lengths
            visible = torch.arange(self._length) >= padding[:, None]
            options["attention_mask"] = visible.to(ids.device, ids.dtype)
        elif not any(self._cache.is_linear):  # a recurrent layer takes no mask of earlier tokens
            # Nothing is masked; without a mask, some models warn of tokens that look like padding.
            options["attention_mask"] = ids.new_ones((len(tokens), self._length))
        hidden = []
        # The head's input is the last hidden state at the requested positions;
        # output_hidden_states=True would keep those of every layer at all positions.
        hook = self._head.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
        try:
            with torch.inference_mode():
                output = self._model(input_ids=ids, **options)
        finally:
            hook.remove()
        return _array(output.logits[:, -count:]), _array(hidden[-1][:, -count:])

    def truncate(self, length):
        """Drop the tokens after the first `length`; return the number that remains."""
        if length == 0 or not (self._crops and self._cache.is_croppable):
            self._cache = None
            return 0
        self._cache.crop(length - self._length)
        self._length = length
        return length

    def select(self, rows):
        """Keep these rows in this order."""
        self._cache.reorder_cache(torch.from_numpy(rows).to(self._model.device))

    def join(self, other):
        """Append the rows of another cache, with padding before shorter rows."""
        length = max(self._length, other._length)
        for own, others in zip(self._cache.layers, other._cache.layers, strict=True):
            own.keys = _joined(own.keys, others.keys, length)
            own.values = _joined(own.values, others.values, length)
        self._length = length

    def trim(self, positions):
        """Drop all but the last `positions`."""
        if positions < self._length:
            for layer in self._cache.layers:
                layer.keys = layer.keys[..., -positions:, :]
                layer.values = layer.values[..., -positions:, :]
            self._length = positions


def _joined(one, other, length):
    """Concatenate the rows of two tensors (batch, heads, time, size), padded on the left."""
    parts = (torch.nn.functional.pad(x, (0, 0, length - x.shape[-2], 0)) for x in (one, other))
    return torch.cat([*parts])


def _empty_cache(config):
    """Return an empty cache that can be cropped, if the model has such a cache.

    Layers with a sliding window keep all tokens here, as full attention does, since they could
    not be cropped otherwise. The mask still hides those outside the window.
    """
    cache = DynamicCache(config=config)
    cache.layers = [
        DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer
        for layer in cache.layers
    ]
    return cache


def _array(tensor):
    return tensor.to("cpu", torch.float32).numpy()
