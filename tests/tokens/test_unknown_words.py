"""The words of a text that a vocabulary lacks."""

import pytest

from corelm.abilities import FullVocabulary
from corelm.bundles import WordVocabulary

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
    assert FullVocabulary(WordVocabulary(WORDS, style)).unknown_words(text) == unknown


def test_a_word_with_known_parts_is_named_whole():
    vocabulary = FullVocabulary(WordVocabulary([*WORDS, ","], "symbols"))
    assert vocabulary.unknown_words("film, film") == ["film,"]


def test_a_vocabulary_that_knows_every_word_has_no_unknown_ones():
    class Bytes:
        unknown = None

    assert FullVocabulary(Bytes()).unknown_words("any text") == []
