"""The contract of a language model, and the tokens that are never drawn."""

from __future__ import annotations

import numpy as np
import pytest

import corelm
from corelm.abilities import FullVocabulary


class Words:
    def __init__(self, padding=0, unknown=1, start=None, ends=(2, 3), words="abcde"):
        self.padding, self.unknown, self.start, self.ends = padding, unknown, start, ends
        self.words = words

    def __len__(self):
        return len(self.words)

    def encode(self, text):
        return [self.words.index(letter) for letter in text]

    def decode(self, ids):
        return "".join(self.words[i] for i in ids)


class Equal:
    """A model of five words that are equally likely."""

    context_length = 9

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def next_token_distribution(self, tokens):
        return np.full((len(tokens), 5), 0.2)


@pytest.mark.parametrize(
    ("padding", "unknown", "wanted", "ids"),
    [
        (0, 1, False, [0, 1]),
        (0, 1, True, [0]),
        (4, 3, False, [3, 4]),
        (None, 1, False, [1]),
        (0, None, False, [0]),
        (None, None, False, []),
        (2, 2, False, [2]),
        (None, 1, True, []),
    ],
)
def test_padding_and_the_unknown_word_are_never_drawn(padding, unknown, wanted, ids):
    model = Equal(Words(padding, unknown))
    for step in corelm.stream(model, "c", sampler="stochastic", length=2, unknown=wanted):
        assert np.flatnonzero(np.isneginf(step.logits[0])).tolist() == ids


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"ends": [3, 2]}, True),
        ({"ends": (2,)}, False),
        ({"padding": None}, False),
        ({"unknown": 2}, False),
        ({"start": 0}, False),
        ({"words": "abcd"}, False),
        ({"words": "abcdef"}, False),
        ({"words": "abcdx"}, False),
        ({"words": "xbcde"}, False),
    ],
)
def test_vocabularies_are_the_same_if_every_id_is_the_same_token(changed, same):
    assert FullVocabulary(Words()).same_as(Words(**changed)) is same
    assert FullVocabulary(Words(**changed)).same_as(Words()) is same
