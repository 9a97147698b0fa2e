"""The vocabulary of vLLM's model, for samplers that name words or the end of a text."""

import copy
from functools import cached_property, lru_cache


class VllmVocabulary:
    """The tokenizer of an engine as a `corelm.Vocabulary`.

    Args:
        model_config: of the engine's configuration.
    """

    padding = unknown = None

    def __init__(self, model_config):
        self._config = model_config

    @cached_property
    def _tokenizer(self):
        # Late: most requests name no word, and vLLM may run without a tokenizer.
        from vllm.tokenizers import cached_tokenizer_from_config

        return cached_tokenizer_from_config(self._config)

    @cached_property
    def start(self):
        """The token that the tokenizer puts before every text; None if it puts none."""
        if getattr(self._config, "skip_tokenizer_init", False):
            return None
        plain, whole = self.encode("a"), list(self._tokenizer.encode("a"))
        return whole[0] if whole[1 : 1 + len(plain)] == plain else None

    def ending_at(self, ends):
        """Return the vocabulary of requests that end at these ids; None for the model's."""
        return self if ends is None else _ending_at(self, ends)

    @cached_property
    def ends(self):
        """The ids that end a text, from the model's configuration."""
        ids = getattr(self._config.hf_config, "eos_token_id", None)
        return _possible(self, (ids,) if isinstance(ids, int) else tuple(ids or ()))

    def __len__(self):
        return self._config.get_vocab_size()

    def encode(self, text):
        """Return the ids of a text, without special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids):
        """Return the text of ids."""
        return self._tokenizer.decode(list(ids))


@lru_cache(maxsize=64)
def _ending_at(vocabulary, ends):
    other = copy.copy(vocabulary)
    other.ends = _possible(vocabulary, ends)
    return other


def _possible(vocabulary, ends):
    """Return the ids that are tokens: configurations have others, such as -1 for no end."""
    return tuple(sorted({end for end in ends if 0 <= end < len(vocabulary)}))
