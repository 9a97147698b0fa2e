"""The words of a text that a vocabulary lacks."""

import pytest

from corelm.bundles import WordVocabulary
from corelm.generation.prompts import unknown_words

WORDS = ["", "[UNK]", "a", "film", "plot", "the", "well-made"]


@pytest.mark.parametrize(
    ("style", "text", "unknown"),
    [
        ("words", "The film", []),
        ("words", "The novel: a Novel, the novel", ["novel", "Novel"]),  # punctuation is stripped
        ("words+punctuation", "A plot; the twist!", [";", "twist", "!"]),
        ("words+punctuation", "don't", ["don't"]),
        ("symbols", "well-made film, a plot", [","]),
    ],
)
def test_words_are_named_once_and_as_they_are_spelled(style, text, unknown):
    assert unknown_words(WordVocabulary(WORDS, style), text) == unknown


def test_a_word_with_known_parts_is_named_whole():
    assert unknown_words(WordVocabulary([*WORDS, ","], "symbols"), "film, film") == ["film,"]


def test_a_vocabulary_that_knows_every_word_has_no_unknown_ones():
    class Bytes:
        unknown = None

    assert unknown_words(Bytes(), "any text") == []
