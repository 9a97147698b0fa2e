"""A model of transformers as a language model of corelm."""

import logging
from functools import partial

from corelm import CorelmError
from corelm.interop import DisplayableModel, check_session, vocabulary_of
from corelm.runs import start_rows
from corelm_transformers.cache import (
    PaddedTransformersSession,
    TransformersCache,
    TransformersSession,
)
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
