"""A model of transformers as a language model of corelm."""

from corelm import CorelmError, softmax
from corelm.interop import vocabulary_of
from corelm_transformers.cache import TransformersCache, TransformersSession
from corelm_transformers.caller import end_tokens

UNLIMITED = 2**31
"""The context length of a model whose configuration names none."""


class TransformersModel:
    """A causal language model of transformers, with its tokenizer.

    Its sessions use transformers' own key/value cache, on the device of the model. Texts begin
    with the token that the tokenizer puts before them; chat templates are yours to apply.

    Args:
        model: a model with a language modeling head, such as `AutoModelForCausalLM` loads.
        tokenizer: the model's.

    Attributes:
        vocabulary: the tokens of the tokenizer.
        context_length: the largest number of tokens that the model attends to.

    Raises:
        CorelmError: a model that isn't a causal language model, or a tokenizer with more ids.
    """

    def __init__(self, model, tokenizer):
        head = model.get_output_embeddings()
        if head is None or model.config.is_encoder_decoder:
            raise CorelmError(f"{type(model).__name__} is not a causal language model")
        config = model.config.get_text_config()
        size = config.vocab_size
        if len(tokenizer) > size:
            raise CorelmError(
                f"the tokenizer has {len(tokenizer)} tokens, but the model has logits of {size}; "
                "they do not belong together"
            )
        self._model = model.eval()
        ends = end_tokens(getattr(model, "generation_config", None), tokenizer)
        self.vocabulary = vocabulary_of(tokenizer, size, ends)
        self.context_length = getattr(config, "max_position_embeddings", None) or UNLIMITED

    def next_token_distribution(self, tokens):
        """Map (batch, time) ids to (batch, vocabulary) probabilities."""
        return softmax(self.start(tokens).next_logits())

    def start(self, tokens):
        """Start a decoding session for (batch, time) ids."""
        cache = TransformersCache(self._model)
        return TransformersSession(cache, tokens, self.vocabulary, self.context_length)
