"""Byte pairs: the ids of `tokenizers`, texts that come back, files that are refused."""

from __future__ import annotations

import random
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelm.abilities import FullVocabulary
from corelm.bundles import Bundle, BytePairVocabulary
from corelm.errors import ModelFileError
from corelm.models import byte_pairs
from corelm.models.byte_pairs import ALPHABET, FIRST_BYTE, FIRST_MERGE
from corelm.models.contents import TOKENS

MERGES = [
    *(("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "m"), ("o", "v"), ("i", "e"), ("Ġm", "ov")),
    *(("Ġmov", "ie"), ("a", "a"), ("aa", "aa"), ("'", "t"), ("Ã", "©"), ("Ġ", "Ġ"), ("1", "2")),
    *(("aa", "the"), ("Ġmovie", "s"), ("e", "Ġ"), ("ð", "Ł"), ("ðŁ", "İ"), ("ðŁİ", "¬")),
]
VOCABULARY = BytePairVocabulary(MERGES)

PIECES = [
    *("the", " movie", " movies", "aaaa", "a", " ", "  ", "\n", "\t", "\r\n", "don't", "'T", "12"),
    *(
        "1",
        ".",
        "!!",
        "é",
        "e\u0301",
        "漢字",
        "🎬",
        "\x85",
        "\xa0",
        "\u3000",
        "\x1c",
        "\x00",
        "\x7f",
    ),
    *("ß", "ǅ", "½", "Ⅷ", "_", "-", "\u200b", "\ufeff", "<|endoftext|>", "<|padding|>"),
]


@pytest.fixture(scope="module")
def reference():
    """The tokenizer of the package `tokenizers` with the same tokens."""
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    ids = {word: i for i, word in enumerate(VOCABULARY.words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(ids, MERGES))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def old_characters():
    """Characters of Unicode 3.2 that have kept their category: newer ones differ by version."""
    old = unicodedata.ucd_3_2_0
    characters = map(chr, range(sys.maxunicode + 1))
    return [c for c in characters if old.category(c) == unicodedata.category(c) not in ("Cn", "Cs")]


def test_texts_of_odd_pieces_have_the_ids_of_tokenizers(reference):
    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(rng.choices(PIECES, k=rng.randrange(30)))
        assert VOCABULARY.encode(text) == reference.encode(text).ids, text


@pytest.mark.long
def test_every_character_is_split_as_by_tokenizers(reference):
    rng = random.Random(0)
    characters = old_characters()
    rng.shuffle(characters)
    assert len(characters) > 90_000
    for i in range(0, len(characters), 500):
        text = "".join(c + rng.choice(["", " ", "a", "1"]) for c in characters[i : i + 500])
        assert VOCABULARY.encode(text) == reference.encode(text).ids


@pytest.mark.parametrize("word", ["a" * 30_001, "themovie" * 5000, "aathe" * 3])
def test_a_long_word_has_the_ids_of_tokenizers(reference, word):
    assert VOCABULARY.encode(word) == reference.encode(word).ids


def test_merges_apply_by_rank_and_from_left_to_right():
    def tokens(text):
        return [VOCABULARY.words[i] for i in VOCABULARY.encode(text)]

    assert tokens("the movie") == ["the", "Ġmovie"]
    assert tokens("aaa aathe") == ["aa", "a", "Ġ", "aathe"]
    assert tokens("aaaaaaa") == ["aaaa", "aa", "a"]
    assert tokens("e  é") == ["e", "Ġ", "Ġ", "Ã©"]  # no merge crosses the end of a word
    assert tokens("") == []


def test_the_ids_begin_with_padding_end_and_the_bytes():
    assert (VOCABULARY.padding, VOCABULARY.unknown) == (0, None)
    assert (VOCABULARY.start, VOCABULARY.ends) == (1, (1,))
    assert VOCABULARY.words[:2] == ["<|padding|>", "<|endoftext|>"]
    assert [VOCABULARY.token_bytes(2 + byte) for byte in range(256)] == [
        bytes([byte]) for byte in range(256)
    ]
    assert len(VOCABULARY) == 258 + len(MERGES)
    assert VOCABULARY.token_bytes(len(VOCABULARY) - 1) == "🎬".encode()
    assert VOCABULARY.token_bytes(0) == VOCABULARY.token_bytes(1) == b""


def test_the_name_of_a_special_token_in_a_text_is_text():
    ids = VOCABULARY.encode("<|endoftext|>")
    assert not {0, 1} & set(ids)
    assert VOCABULARY.decode([1, *ids, 1, 0]) == "<|endoftext|>"


@given(st.text())
def test_every_text_comes_back(text):
    assert VOCABULARY.decode(VOCABULARY.encode(text)) == text


@given(st.lists(st.integers(0, len(VOCABULARY) - 1)))
def test_the_text_of_a_prefix_is_a_prefix_of_the_text(ids):
    text = VOCABULARY.decode(ids)
    assert "".join(map(FullVocabulary(VOCABULARY).writer(), ids)) == text
    assert all(text.startswith(VOCABULARY.decode(ids[:i])) for i in range(len(ids)))


def test_half_a_character_gives_no_text_and_a_wrong_byte_a_replacement():
    first, second = VOCABULARY.encode("ü")
    write = FullVocabulary(VOCABULARY).writer()
    assert [write(first), write(second), write(second)] == ["", "ü", "\ufffd"]
    assert VOCABULARY.decode([first]) == ""


def test_half_a_surrogate_pair_becomes_a_question_mark():
    assert VOCABULARY.decode(VOCABULARY.encode("a\ud800b")) == "a?b"


def test_the_cache_of_words_is_bounded(monkeypatch):
    monkeypatch.setattr(byte_pairs, "CACHED_WORDS", 10)
    vocabulary = BytePairVocabulary(MERGES)
    text = " ".join(f"x{'y' * i}" for i in range(200))
    assert vocabulary.encode(text) == vocabulary.encode(text) == VOCABULARY.encode(text)
    assert 0 < len(vocabulary._cache) <= 10


def test_a_list_of_ids_can_be_changed_without_harm():
    vocabulary = BytePairVocabulary(MERGES)
    vocabulary.encode("movie").clear()
    assert vocabulary.decode(vocabulary.encode("movie")) == "movie"


def test_the_file_has_one_line_a_token():
    lines = VOCABULARY.dumps().split("\n")
    assert lines[:4] == ["<|padding|>", "<|endoftext|>", "Ā", "ā"]
    assert lines[FIRST_BYTE + ord("a")] == "a"
    assert lines[FIRST_MERGE : FIRST_MERGE + 3] == ["t h", "th e", "Ġ the"]
    assert lines[-1] == ""
    assert len(lines) == len(VOCABULARY) + 1


@pytest.mark.parametrize("change", [str, lambda t: "\ufeff" + t.replace("\n", "\r\n")])
def test_a_file_comes_back(change):
    read = Bundle.read_vocabulary(change(VOCABULARY.dumps()), "byte-pairs")
    assert read.merges == VOCABULARY.merges
    assert read.style == "byte-pairs"
    assert read.dumps() == VOCABULARY.dumps()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[:-1], "cut off"),
        (lambda t: "", "begins with"),
        (lambda t: "\n[UNK]\nword\n", "begins with <|padding|>, <|endoftext|> and the 256 bytes"),
        (lambda t: t.replace("\na\nb\n", "\nb\na\n", 1), "begins with"),
        (lambda t: t + "the\n", "two parts with a space between them, not 'the'"),
        (lambda t: t + "t h e\n", "two parts with a space between them, not 't h e'"),
        (lambda t: t + "\n", "two parts with a space between them, not ''"),
        (
            lambda t: t + "x yz\n",
            "the merge 'x yz' needs the token 'yz', which no earlier line makes",
        ),
        (lambda t: t + "a \n", "the merge 'a ' needs the token ''"),
        (lambda t: t + "<|padding|> a\n", "needs the token '<|padding|>'"),
        (lambda t: t + "t he\nh e\n", "needs the token 'he'"),
        (lambda t: t + "t h\n", "each token once, not 'th' twice"),
        (lambda t: t + "h e\nt he\n", "each token once, not 'the' twice"),
    ],
)
def test_a_damaged_file_is_refused(change, reason):
    with pytest.raises(ModelFileError) as caught:
        BytePairVocabulary.loads(change(VOCABULARY.dumps()))
    assert reason in str(caught.value)


def test_an_unknown_style_is_refused_with_all_styles():
    with pytest.raises(ModelFileError, match=re.escape(f"there are {', '.join(TOKENS)}")):
        Bundle.read_vocabulary("", "bytes")


def test_the_alphabet_has_a_visible_character_for_each_byte():
    assert len(set(ALPHABET)) == 256
    assert not any(c.isspace() for c in ALPHABET)
