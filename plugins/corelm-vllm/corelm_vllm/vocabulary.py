"""The vocabulary of vLLM's model, for samplers that name words or the end of a text."""

import copy
from functools import cached_property, lru_cache

from corelm.interop import special_tokens


class VllmVocabulary:
    """The tokenizer of an engine as a `corelm.Vocabulary`.

    Args:
        model_config: the model's part of the engine's configuration.

    Attributes:
        padding, unknown, unused: the ids that are never drawn; none without a tokenizer.
    """

    def __init__(self, model_config):
        self._config = model_config

    @cached_property
    def _tokenizer(self):
        # Late: most requests name no word, and vLLM may run without a tokenizer.
        from vllm.tokenizers import cached_tokenizer_from_config

        return cached_tokenizer_from_config(self._config)

    @property
    def _has_tokenizer(self):
        return not getattr(self._config, "skip_tokenizer_init", False)

    @cached_property
    def _special(self):
        if not self._has_tokenizer:
            return None, None, ()
        return special_tokens(self._tokenizer, len(self), self.ends)

    padding = property(lambda self: self._special[0])
    unknown = property(lambda self: self._special[1])
    unused = property(lambda self: self._special[2])

    @cached_property
    def start(self):
        """The token that the tokenizer puts before every text; None if it puts none."""
        if not self._has_tokenizer:
            return None
        plain, whole = self.encode("a"), list(self._tokenizer.encode("a"))
        return whole[0] if whole[1 : 1 + len(plain)] == plain else None

    def of_requests(self, ends, wanted):
        """Return the vocabulary of requests.

        Args:
            ends: the ids at which they end; None for the model's.
            wanted: ids that the requests name; they can be drawn even if they are padding.
        """
        return _of_requests(self, ends, wanted)

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
def _of_requests(vocabulary, ends, wanted):
    other = copy.copy(vocabulary)
    if ends is not None:
        other.ends = _possible(vocabulary, ends)
    possible = wanted.union(other.ends)
    padding, unknown, unused = vocabulary._special
    other._special = (
        None if padding in possible else padding,
        None if unknown in possible else unknown,
        tuple(id for id in unused if id not in possible),
    )
    return other


def _possible(vocabulary, ends):
    """Return the ids of tokens; a configuration may have others, such as -1 for no end."""
    return tuple(sorted({end for end in ends if 0 <= end < len(vocabulary)}))
