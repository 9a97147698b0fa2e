import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corelm.bundles import WordVocabulary
from corelm.errors import ModelFileError
from corelm.models.word_vocabulary import END, STYLES

NASTY = {
    "nothing": "",
    "spaces alone": " \t\n\v\f\r ",
    "all white space": "a\tb\vc\fd\r\ne\nf  g",
    "separators that are no spaces": "a\x1cb\x1dc\x1ed\x1fe\x85f",
    "unicode spaces": "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u200bg\ufeffh",
    "emoji": "😀 👍🏽 a😀b 👩\u200d👧",
    "combining marks": "e\u0301te\u0301 \u0301 i\u0307",
    "right to left": "\u202eabc שלום العربية\u202c",
    "capitals that only unicode knows": "É École ÀB \u0130\u0131\u017f\u212a \u01c5 ß \u0149 Σς",
    "marks that only unicode knows": "\u201ca\u201d \u2018b\u2019s c\u2026 d\u2013e\u2014f",
    "control characters": "\x01\x02 \x1b[31m \x7f",
    "zero": "zero\0in \0 x\0",
    "a very long word": "w" * 100_000 + " end",
    "only punctuation": "!!!...???---",
    "every mark": "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'",
    "apostrophes": "' '' '''a'b'c' don't 'tis dogs' o''clock",
    "dashes": "a - b -- c --- d-e -f- - - g -\th\n--\vi -",
    "the special tokens": "[UNK] [end] [unk] [END] a[end]b",
    "backslashes": "\\ \\n \\\\ `~^_|",
    "the edges of unicode": "\U0010ffff \ufffe \uffff \ufffd",
    "mixed": 'He said: "It\'s GREAT (10/10)!!"... well - NOT',
}


def vocabulary_of(texts, style):
    """Every second token of the texts, so that the others are unknown."""
    tokens = sorted({token for text in texts for token in STYLES[style].split(text)})
    special = ["", "[UNK]", END]
    return WordVocabulary(
        special + [t for t in tokens if t not in special and "\0" not in t][::2], style
    )


def keras_ids(vocabulary, texts):
    """Return the ids of Keras's TextVectorization, padded to the longest text."""
    from corelm_train.vocabulary_learning import text_vectorization

    layer = text_vectorization(vocabulary.style, len(vocabulary), vocabulary.words)
    assert [str(word) for word in layer.get_vocabulary()] == list(vocabulary.words)
    return layer(texts).numpy()


def assert_same_ids(vocabulary, texts):
    for text, row in zip(texts, keras_ids(vocabulary, texts), strict=True):
        ids = vocabulary.encode(text)
        assert row.tolist() == ids + [0] * (len(row) - len(ids)), text[:80]


# The same ids as Keras


@pytest.mark.packages
@pytest.mark.parametrize("style", STYLES)
def test_nasty_texts_have_the_ids_that_keras_gives(style):
    texts = list(NASTY.values())
    assert_same_ids(vocabulary_of(texts, style), texts)


# The rules of each style, written out

CUT = {
    "words": {
        "It's GREAT (10/10)!!": ["its", "great", "1010"],
        "well-made - really": ["wellmade", "really"],
        "ÉTÉ\u00a0x\ty": ["ÉtÉ\u00a0x", "y"],
        "!!!": [],
    },
    "words+punctuation": {
        "It's GREAT (10/10)!!": ["it's", "great", "(", "10", "/", "10", ")", "!!"],
        "well-made - really": ["well", "-", "made", "--", "really"],
        "so... 'tis dogs' o''clock": ["so", "...", "'", "tis", "dogs", "'", "o", "'", "'", "clock"],
        "?!?? a_b": ["?", "!", "??", "a", "_", "b"],
        "ÉTÉ\u00a0x\ty": ["ÉtÉ\u00a0x", "y"],
        "end -": ["end", "-"],
    },
    "characters": {"aÉ \n😀": ["a", "É", " ", "\n", "😀"], "e\u0301": ["e", "\u0301"]},
    "symbols": {
        "C4/8 D#4\t|\nrest": ["C4/8", "D#4", "|", "rest"],
        "a\u00a0b\x1cc\x85d": ["a\u00a0b\x1cc\x85d"],
    },
}


@pytest.mark.parametrize(
    ("style", "text", "tokens"),
    [(style, text, tokens) for style, cases in CUT.items() for text, tokens in cases.items()],
)
def test_a_text_is_cut_by_the_rules_of_its_style(style, text, tokens):
    assert STYLES[style].split(text) == tokens


@pytest.mark.parametrize("style", STYLES)
def test_every_style_takes_any_string(style):
    @given(st.text(st.characters(codec=None)))
    def cut(text):
        vocabulary = vocabulary_of([], style)
        assert all(0 < i < 3 for i in vocabulary.encode(text))

    cut()


# Ids and texts

WORDS = ["", "[UNK]", "[end]", "this", "film", ".", "is"]


def test_unknown_words_share_an_id_and_padding_and_end_are_silent():
    vocabulary = WordVocabulary(WORDS, "words+punctuation")
    assert vocabulary.encode("This film is grand. [end]") == [3, 4, 6, 1, 5, 1, 1, 1]
    assert vocabulary.decode([2, 3, 4, 6, 1, 5, 2, 0, 0]) == "This film is [UNK]."
    assert (vocabulary.padding, vocabulary.unknown, len(vocabulary)) == (0, 1, 7)
    assert (vocabulary.start, vocabulary.ends) == (2, (2,))


def test_a_vocabulary_may_have_no_end():
    vocabulary = WordVocabulary(["", "[UNK]", "this"], "words")
    assert (vocabulary.start, vocabulary.ends) == (None, ())
    assert vocabulary.decode([2, 1, 0]) == "this [UNK]"


@given(st.text())
def test_a_text_of_known_characters_comes_back_as_it_was(text):
    vocabulary = WordVocabulary(["", "[UNK]", *sorted(set(text))], "characters")
    assert vocabulary.decode(vocabulary.encode(text)) == text


@pytest.mark.parametrize(
    ("words", "style", "reason"),
    [
        ([], "words", r"^a vocabulary begins with an empty line and \[UNK\]"),
        ([""], "words", r"^a vocabulary begins with an empty line and \[UNK\]"),
        (["", "this", "[UNK]"], "words", r"^a vocabulary begins with an empty line and \[UNK\]"),
        (["", "[UNK]", "a", "b", "a"], "words", "each word once, not 'a' twice"),
        (["", "[UNK]", ""], "words", "each word once, not '' twice"),
        (["", "[UNK]"], "syllables", "no tokens 'syllables'; there are words, words"),
    ],
)
def test_an_invalid_vocabulary_is_refused(words, style, reason):
    with pytest.raises(ModelFileError, match=reason):
        WordVocabulary(words, style)


# The file

ODD = ["", "[UNK]", "\n", "\r", "\\", "\r\n", "\\n", " ", "\t", "\x85", "\u2028", "\ufeff", "a"]


def test_the_file_holds_one_token_a_line():
    text = WordVocabulary(ODD[:8], "symbols").dumps()
    assert text == "\n[UNK]\n\\n\n\\r\n\\\\\n\\r\\n\n\\\\n\n \n"


def test_windows_line_ends_and_a_byte_order_mark_change_nothing():
    text = "\ufeff" + WordVocabulary(ODD, "symbols").dumps().replace("\n", "\r\n")
    assert WordVocabulary.loads(text, "symbols").words == tuple(ODD)


@pytest.mark.parametrize("text", ["", "\n[UNK]\nthis\nfil", "\n[UNK]", "\n"])
def test_a_file_that_is_cut_off_is_refused(text):
    with pytest.raises(ModelFileError, match=r"cut off|begins with"):
        WordVocabulary.loads(text, "words")


def test_unknown_escapes_and_repeated_words_are_refused():
    with pytest.raises(ModelFileError, match=r"unknown escape '\\\\x'"):
        WordVocabulary.loads("\n[UNK]\n\\x\n", "words")
    with pytest.raises(ModelFileError, match=r"unknown escape '\\\\'"):
        WordVocabulary.loads("\n[UNK]\na\\\n", "words")
    with pytest.raises(ModelFileError, match="not 'a' twice"):
        WordVocabulary.loads("\n[UNK]\na\na\n", "words")


@given(st.lists(st.text(min_size=1), unique=True))
def test_any_tokens_come_back(words):
    vocabulary = WordVocabulary(["", "[UNK]", *(w for w in words if w != "[UNK]")], "symbols")
    assert WordVocabulary.loads(vocabulary.dumps(), "symbols").words == vocabulary.words


@given(st.one_of(st.text(), st.text("\n\r\\[UNK]nra\ufeff").map("\n[UNK]\n".__add__)))
@example("\n[UNK]\n\\")
def test_any_file_is_read_or_refused_by_name(text):
    try:
        read = WordVocabulary.loads(text, "symbols")
    except ModelFileError:
        return
    assert WordVocabulary.loads(read.dumps(), "symbols").words == read.words
