"""The texts of a vocabulary's tokens, as a tokenizer of llguidance.

llguidance sees bytes. In a vocabulary of bytes a token is the same bytes everywhere, so it has one
text. In a vocabulary of words a token has several, such as `film`, ` film` and ` Film`; the tokens
before decide which. The tokenizer then has every text, and each step looks up the ones that apply.
"""

import os
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from llguidance import LLTokenizer, TokenizerWrapper

from corelm.abilities import can
from corelm.errors import UsageError

MOST_VOCABULARIES = 8
"""The number of vocabularies whose readers are cached."""
MOST_STATES = 256
"""The most writer states with cached columns; a vocabulary of words has a few dozen."""


class TokenTexts:
    """Texts as the tokens of llguidance, followed by the 256 bytes and by the end.

    The bytes let a matcher read any text, even one that the vocabulary's tokens can't spell.

    Args:
        texts: the bytes of each token; none for a token that has no text.

    Attributes:
        end: the token that ends a text.
        tokenizer: llguidance's tokenizer.
        tokens_of: returns the tokens of bytes, one for each.
        states: the `States` of each matched grammar, for `corelm_grammar.states`.
    """

    def __init__(self, texts):
        self.end = len(texts) + 256
        self.tokens_of = partial(_byte_tokens, len(texts))
        tokens = [*texts, *(bytes([byte]) for byte in range(256)), b""]
        wrapped = TokenizerWrapper(_Tokens(tokens, self.end, self.tokens_of))
        self.tokenizer = LLTokenizer(wrapped, n_vocab=len(tokens), eos_token=self.end)
        self.states = {}


def _byte_tokens(first, text):
    """Return one token for each byte.

    A method of `TokenTexts` would make the tokenizer refer to its owner, in a cycle through
    llguidance that Python's garbage collector cannot see.
    """
    return [first + byte for byte in text]


class _Tokens:
    """The attributes that `TokenizerWrapper` reads."""

    bos_token_id = None

    def __init__(self, tokens, end, encode):
        self.tokens, self.eos_token_id, self.special_token_ids = tokens, end, [end]
        self._encode = encode

    def __call__(self, text):
        return self._encode(text if isinstance(text, bytes) else text.encode())


class RowReading(NamedTuple):
    """A row of a context, read as text.

    Attributes:
        texts: the tokens of llguidance.
        drawn: the bytes of the text after the prompt.
        columns: for each token of the vocabulary, the token of llguidance that it would be next.
    """

    texts: TokenTexts
    drawn: bytes
    columns: Any


class ByteReader:
    """A reader of rows of a vocabulary whose tokens are the same bytes everywhere."""

    has_dead_ends = False  # any byte can follow any other

    def __init__(self, vocabulary):
        self._bytes = [bytes(vocabulary.token_bytes(i)) for i in range(len(vocabulary))]
        self._texts = TokenTexts(self._bytes)

    def __call__(self, tokens, prompt_length):
        """Return the `RowReading` of a list of ids."""
        drawn = b"".join([self._bytes[token] for token in tokens[prompt_length:]])
        return RowReading(self._texts, drawn, slice(len(self._bytes)))


class WordReader:
    """A reader of rows of a vocabulary whose tokens have several texts."""

    has_dead_ends = True

    def __init__(self, vocabulary):
        self._vocabulary = vocabulary
        self._forms = _Forms(TokenTexts([b""]), {"": 0})
        self._columns = {}

    def __call__(self, tokens, prompt_length):
        """Return the `RowReading` of a list of ids."""
        decode = self._vocabulary.decode
        drawn = decode(tokens)[len(decode(tokens[:prompt_length])) :]
        texts, columns = self._look_up(self._vocabulary.texts_after(tokens))
        return RowReading(texts, drawn.encode(), columns)

    def _look_up(self, written):
        """Return llguidance's tokens, and the index of each text among them."""
        # The vocabulary returns the same object in the same state, so its id finds the columns.
        cached_texts, forms, columns = self._columns.get(id(written), (None, None, None))
        if cached_texts is not written or forms is not self._forms:
            texts = list(written)  # computes each text on access
            forms = self._forms = self._forms.extended(texts)
            columns = np.array([forms.places[text] for text in texts])
            if len(self._columns) >= MOST_STATES:
                self._columns.clear()
            self._columns[id(written)] = written, forms, columns
        return forms.texts, columns


class _Forms(NamedTuple):
    """All texts seen so far, with their indices among the tokens of llguidance."""

    texts: TokenTexts
    places: dict

    def extended(self, written):
        """Return forms that include these texts."""
        if self.places.keys() >= set(written):
            return self
        # Most words occur with and without a space and a capital sooner or later: add all forms at
        # once, as each addition builds the tokenizer again.
        words = dict.fromkeys(text.lstrip(" ") for text in written)
        cased = dict.fromkeys(
            form for word in words for form in (word, word[:1].upper() + word[1:])
        )
        met = [*self.places, *written, *cased, *(" " + form for form in cased)]
        places = {text: place for place, text in enumerate(dict.fromkeys(met))}
        return _Forms(TokenTexts([text.encode() for text in places]), places)


@lru_cache(maxsize=MOST_VOCABULARIES)
def reader_of(vocabulary):
    """Return the reader of a vocabulary, from a cache.

    Raises:
        UsageError: no vocabulary, or one without the text of each token.
    """
    if vocabulary is None:
        raise UsageError("needs the texts of the tokens; sample from a model that has a vocabulary")
    if can(vocabulary, "token_bytes"):
        return ByteReader(vocabulary)
    if can(vocabulary, "texts_after"):
        return WordReader(vocabulary)
    raise UsageError(
        f"{type(vocabulary).__name__} does not say which text each token adds; it needs the method "
        "token_bytes or texts_after"
    )


# When the process forked, another thread may have held one of llguidance's locks.
os.register_at_fork(after_in_child=reader_of.cache_clear)
