"""The vocabulary of vLLM's model, for samplers that name words or the end of a text."""

from functools import cached_property


class VllmVocabulary:
    """The tokenizer of an engine as a `corelm.Vocabulary`.

    Args:
        model_config: of the engine's configuration.
    """

    padding = unknown = start = None

    def __init__(self, model_config):
        self._config = model_config

    @cached_property
    def _tokenizer(self):
        from vllm.tokenizers import cached_tokenizer_from_config

        return cached_tokenizer_from_config(self._config)

    @property
    def ends(self):
        """The ids that end a text: those of the model's configuration."""
        ids = getattr(self._config.hf_config, "eos_token_id", None)
        return (ids,) if isinstance(ids, int) else tuple(ids or ())

    def __len__(self):
        return self._config.get_vocab_size()

    def encode(self, text):
        """Return the ids of a text, without special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids):
        """Return the text of ids."""
        return self._tokenizer.decode(list(ids))
