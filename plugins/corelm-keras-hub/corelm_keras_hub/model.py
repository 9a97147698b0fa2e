"""A causal language model of KerasHub as a language model of corelm."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import keras_hub
from numpy.typing import ArrayLike

import corelm
from corelm import Array
from corelm.errors import UsageError
from corelm.interop import CachedSession, DisplayableModel, check_session
from corelm.runs import start_rows
from corelm_keras_hub.backends import compiled
from corelm_keras_hub.cache import CachedPasses, FullPasses, Network
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
