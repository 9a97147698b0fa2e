"""Small models for the tests: of bytes, and of words that are written with their neighbours."""

import numpy as np

from corelm import load
from corelm.interop.testing import tiny_gpt2
from corelm.testing import ToyModel

WORDS = ["", "[UNK]", "[end]", "a", "good", "bad", "film", ".", ",", '"', "{", "}", ":", "t", "1"]


class Bytes:
    """A vocabulary of given bytes; the tokens behind them are padding and the ends."""

    unknown = start = None

    def __init__(self, texts, ends=1):
        self._texts = [*texts, *[b""] * (1 + ends)]
        self.padding = len(texts)
        self.ends = tuple(range(len(texts) + 1, len(self._texts)))

    def __len__(self):
        return len(self._texts)

    def token_bytes(self, token):
        return self._texts[token]

    def encode(self, text):
        return [self._texts.index(bytes([byte])) for byte in text.encode()]

    def decode(self, ids):
        return b"".join(self._texts[i] for i in ids).decode(errors="replace")


class Written(ToyModel):
    """A toy model whose words are written with spaces, quotes and capitals."""

    def __init__(self, words=WORDS, seed=0):
        from corelm.models.word_vocabulary import WordVocabulary

        rng = np.random.default_rng(seed)
        super().__init__(words[3:], rng.normal(size=(len(words), len(words))))
        self.vocabulary = WordVocabulary(words, "words+punctuation")


def byte_model(folder):
    """Return a model of 289 byte pairs with random weights."""
    return load(tiny_gpt2(folder, context_length=512))
