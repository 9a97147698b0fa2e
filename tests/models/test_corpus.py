import logging
import os
import sys

import numpy as np
import pytest
from corelm_train.material import opening_rows, packed_rows, padded_rows
from corelm_train.vocabulary_learning import learn_vocabulary

from corelm.bundles import Bundle, Corpus, WordVocabulary
from corelm.errors import DataError, MissingDependencyError, UsageError
from corelm.models import corpus as corpus_module


@pytest.fixture
def write(tmp_path):
    """Write files below a folder; strings in UTF-8, bytes as they are."""

    def files(contents, folder="texts"):
        for name, content in contents.items():
            file = tmp_path / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / folder

    return files


class Batch:
    """A tensor of bytes, as a TensorFlow data set yields."""

    def __init__(self, *texts):
        self._texts = np.array([text.encode() for text in texts], dtype=object)

    def numpy(self):
        return self._texts


# Folders

REVIEWS = {
    "train/pos/0_9.txt": "good",
    "train/neg/0_1.txt": "bad<br /><br />really",
    "train/unsup/0_0.txt": "so so",
    "train/urls_pos.txt": "an address",
    "train/labeledBow.feat": "0:1 2:3",
    "test/pos/0_10.txt": "very good",
    "test/neg/0_2.txt": "very bad",
    "test/urls_neg.txt": "an address",
    "README": "about",
}


def test_the_imdb_reviews_keep_their_own_halves(write, tmp_path, monkeypatch):
    write(REVIEWS, "home/data/aclImdb")
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    reviews = Corpus.of("imdb")
    assert reviews.train == ["bad really", "good", "so so"]
    assert reviews.held_out == ["very bad", "very good"]
    assert reviews.name == "imdb"
    assert Corpus.of(tmp_path / "home" / "data" / "aclImdb") == reviews


def test_reviews_that_were_not_fetched_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path))
    with pytest.raises(DataError, match="fetch them with: corelm data imdb"):
        Corpus.of("imdb")


def test_any_folder_with_two_halves_keeps_them(write):
    poems = Corpus.of(write({"train/1.txt": "roses", "test/1.txt": "violets"}, "poems"))
    assert (poems.train, poems.held_out, poems.name) == (["roses"], ["violets"], "poems")


def test_a_folder_is_read_in_order_through_all_its_classes(write):
    folder = write({"b/2.txt": "two", "b/1.txt": "one", "a/9.TXT": "nine", "0.txt": "zero"})
    write({"notes.md": "no", "a/empty.txt": "", "a/blank.txt": " \n", "b/.txt": "hidden"})
    assert Corpus.texts_in(folder) == ["zero", "nine", "one", "two"]


def test_a_folder_of_classes_gives_what_keras_s_data_set_gives(write):
    import keras

    folder = write({f"{kind}/{i}.txt": f"{kind} {i}" for kind in ("cat", "dog") for i in range(5)})
    dataset = keras.utils.text_dataset_from_directory(
        folder, label_mode=None, batch_size=3, shuffle=False, verbose=False
    )
    ours, theirs = Corpus.of(folder, held_out=0.2), Corpus.of(dataset, held_out=0.2)
    assert (ours.train, ours.held_out) == (theirs.train, theirs.held_out)
    assert sorted([*ours.train, *ours.held_out])[:2] == ["cat 0", "cat 1"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no fifos")
def test_unreadable_files_are_left_out_with_one_warning(write, caplog):
    folder = write({"a.txt": "good", "b.txt": b"\xff\xfe", "c.txt": b"zero\0", "z.txt": "fine"})
    (folder / "d.txt").symlink_to(folder / "nowhere.txt")
    (folder / "e.txt").symlink_to(folder / "e.txt")
    os.mkfifo(folder / "f.txt")
    with caplog.at_level(logging.WARNING, "corelm"):
        assert Corpus.texts_in(folder) == ["good", "fine"]
    [warning] = caplog.messages
    assert warning == (
        f"left out 5 of the files in {str(folder)!r}: "
        f"{str(folder / 'b.txt')!r} is not a text in UTF-8: invalid start byte at byte 0"
    )


def test_some_texts_are_drawn_and_the_first_are_those_of_fewer(write):
    many = [f"text {i}" for i in range(50)]
    folder = write({f"{i:02}.txt": text for i, text in enumerate(many)})
    file = write({"all.txt": "\n".join([*many, ""])}, "one file") / "all.txt"
    for path in (folder, file):
        ten = Corpus.texts_in(path, 10)
        assert len(set(ten)) == 10
        assert set(ten) < set(many)
        assert ten[:4] == Corpus.texts_in(path, 4)
        assert sorted(Corpus.texts_in(path, 100)) == sorted(many)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_without_permission_is_left_out(write, caplog):
    folder = write({"a.txt": "good", "closed/b.txt": "secret"})
    (folder / "closed").chmod(0)
    with caplog.at_level(logging.WARNING, "corelm"):
        assert Corpus.texts_in(folder) == ["good"]
    (folder / "closed").chmod(0o700)
    assert "closed" in caplog.text


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.md": "text"}, "no text in .*; a folder needs .txt files"),
        ({"a.txt": " "}, "no text in"),
        ({"a.txt": b"\xff"}, "no text in"),
        ({"train/a.txt": "text", "test/a.md": "text"}, "no text in .*test"),
    ],
)
def test_a_folder_without_a_text_is_refused(files, reason, write):
    with pytest.raises(DataError, match=reason):
        Corpus.of(write(files))


# One file


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("one\ntwo\nthree", ["one", "two", "three"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("one\nmore\n\ntwo\n", ["one\nmore", "two"]),
        ("one\nmore\r\n \t\r\n\r\ntwo\r\n\r\n", ["one\nmore", "two"]),
        ("\n\none\ntwo\n\n", ["one", "two"]),
        ("only one", ["only one"]),
        (b"\xef\xbb\xbfone\ntwo", ["one", "two"]),
        ("one<br /><br />more\ntwo", ["one more", "two"]),
    ],
)
def test_a_file_holds_texts_between_empty_lines_or_else_one_a_line(content, texts, write):
    assert Corpus.texts_in(write({"all.txt": content}) / "all.txt") == texts


def test_a_file_of_one_line_is_cut_to_hold_the_end_out(write):
    line = Corpus.of(write({"line.txt": "abcdefghijklmnopqrst\n"}) / "line.txt", held_out=0.25)
    assert (line.train, line.held_out, line.name) == (["abcdefghijklmno"], ["pqrst"], "line.txt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no text in"),
        (" \n\n\t\n", "no text in"),
        ("a", "'all.txt' has too little text to hold out 5% of it"),
        ("words        ", "too little text"),
        (b"\x89PNG\0\0", "all.txt' is not a text in UTF-8: it has a zero byte"),
        (b"caf\xe9 au lait", "all.txt' is not a text in UTF-8: invalid continuation byte"),
        ("text".encode("utf-16"), "not a text in UTF-8"),
    ],
)
def test_a_file_without_text_is_refused_with_the_reason(content, reason, write):
    with pytest.raises(DataError, match=reason):
        Corpus.of(write({"all.txt": content}) / "all.txt")


def test_nothing_at_a_path_and_what_cannot_be_opened_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere' does not exist"):
        Corpus.of(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"'a\\x00b' does not exist"):
        Corpus.of("a\0b")


# Data sets in memory


def test_texts_come_alone_or_in_batches_as_strings_or_bytes():
    same = [f"text {i}" for i in range(6)]
    expected = Corpus.of(same)
    assert sorted([*expected.train, *expected.held_out]) == same
    for dataset in (
        (text for text in same),
        [text.encode() for text in same],
        np.array(same),
        [Batch(*same[:4]), Batch(*same[4:])],
    ):
        assert Corpus.of(dataset).train == expected.train


def test_texts_in_memory_are_cleaned_as_those_of_files():
    texts = Corpus.of(["\ufeffa<br />b\r\nc", "", " \n", "d"], held_out=0.5)
    assert sorted([*texts.train, *texts.held_out]) == ["a b\nc", "d"]


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        ([], "'list' has too little text"),
        (["", " "], "'list' has too little text"),
        ([("text", 1)], "must give texts, not tuple; .*label_mode=None"),
        (b"bytes alone", "must give texts, not int"),
        (np.arange(3), "must give texts, not int64"),
        (["good", "zero\0"], "text 2 of the data set is not a text in UTF-8"),
        ([b"good", b"\xff"], "text 2 of the data set is not a text in UTF-8"),
        (["half \ud83d of a pair"], "text 1 of the data set is not a text in UTF-8"),
    ],
)
def test_a_data_set_of_something_else_is_refused(dataset, reason):
    with pytest.raises(DataError, match=reason):
        Corpus.of(dataset)


# Held-out texts

TEXTS = [f"text {i}" for i in range(40)]


def test_the_held_out_texts_are_always_the_same_and_never_trained_on():
    split = Corpus.of(TEXTS, held_out=0.1)
    assert split.held_out == ["text 4", "text 11", "text 24", "text 27"]
    assert split.train == [text for text in TEXTS if text not in split.held_out]
    assert Corpus.of(iter(TEXTS), held_out=0.1).held_out == split.held_out


def test_at_least_one_text_is_held_out_and_one_is_left():
    assert [len(Corpus.of(TEXTS[:2], held_out=0.001).held_out)] == [1]
    with pytest.raises(DataError, match="too little text to hold out 100% of it"):
        Corpus.of(TEXTS, held_out=1.0)


# Rows

WORDS = WordVocabulary(["", "[UNK]", "a", "b", "c", "d", "e"], "words")
MARKED = WordVocabulary(["", "[UNK]", "[end]", "a", "b", "c", "d", "e"], "words+punctuation")


def assert_rows(rows, expected):
    assert rows.dtype == np.uint16
    np.testing.assert_array_equal(rows, np.array(expected).reshape(-1, rows.shape[1]))


def test_padded_rows_hold_one_text_each():
    rows = padded_rows(["A b.", "", "a b c d e", "f"], WORDS, 3)
    assert_rows(rows, [[2, 3, 0, 0], [0, 0, 0, 0], [2, 3, 4, 5], [1, 0, 0, 0]])


def test_packed_rows_waste_nothing_and_share_one_token():
    """[end] is 2. Of `a b c d` a row is whole; the rests are joined to one more."""
    rows = packed_rows(["a b c d", "e", "a"], MARKED, 3)
    assert_rows(rows, [[2, 3, 4, 5], [5, 6, 2, 2], [2, 7, 2, 2]])


def test_packed_rows_of_a_long_text_begin_where_the_one_before_ends():
    rows = packed_rows(["a b c d e"], MARKED, 2)
    assert_rows(rows, [[2, 3, 4], [4, 5, 6], [6, 7, 2]])


def test_packed_rows_lose_no_token_but_the_last_few():
    texts = ["a b c d e a b"] * 5
    rows = packed_rows(texts, MARKED, 4)
    assert rows.shape == (11, 5)  # 5 texts of 9 tokens: 2 rows each, and 5 of a token left


def test_packed_rows_without_an_end_token_are_the_texts_alone():
    assert_rows(packed_rows(["a b c", "d e"], WORDS, 2), [[2, 3, 4], [4, 5, 6]])


def test_too_little_text_for_a_row_makes_none():
    assert packed_rows(["a"], MARKED, 10).shape == (0, 11)
    assert packed_rows([], MARKED, 10).shape == (0, 11)
    assert padded_rows([], WORDS, 10).shape == (0, 11)


def test_opening_rows_are_as_the_model_meets_a_text():
    assert_rows(opening_rows(["a b c d", "e"], MARKED, 3), [[2, 3, 4, 5], [2, 7, 0, 0]])
    assert_rows(opening_rows(["a b c d", "e"], WORDS, 3), [[2, 3, 4, 5], [6, 0, 0, 0]])


def test_ids_beyond_two_bytes_get_four():
    large = WordVocabulary(["", "[UNK]", *map(str, range(2**16))], "words")
    rows = padded_rows(["65535 0"], large, 1)
    assert rows.dtype == np.uint32
    assert rows.tolist() == [[65537, 2]]


# The vocabulary

LESSON = ["the cat, the dog.", "The cat; [UNK] ? [end] A", "the end"]


@pytest.mark.parametrize(
    ("style", "size", "end", "words"),
    [
        ("words", 5, False, ["", "[UNK]", "the", "end", "cat"]),
        ("words+punctuation", 5, True, ["", "[UNK]", "[end]", "the", "end"]),
        (
            "symbols",
            100,
            True,
            ["", "[UNK]", "[end]", "the", "end", "dog.", "cat;", "cat,", "The", "A", "?"],
        ),
        ("characters", 6, True, ["", "[UNK]", "[end]", " ", "e", "t"]),
    ],
)
def test_the_most_frequent_tokens_are_learned(style, size, end, words):
    assert list(learn_vocabulary(LESSON, style, size, end).words) == words


def test_byte_pairs_are_the_most_frequent_neighbours():
    texts = ["ox ox", "ox ox ox, no"]
    learned = learn_vocabulary(texts, "byte-pairs", 10_000)
    assert learned.merges == (("o", "x"), ("Ġ", "ox"))  # a pair that appears once is none
    assert learned.style == "byte-pairs"
    assert learn_vocabulary(texts, "byte-pairs", 259).merges == (("o", "x"),)


def test_byte_pairs_that_make_one_token_are_learned_once():
    texts = ["ab", "ab", "ab", "bc", "bc", "abc", "xbc abc bc"] * 9 + ["abcd abce"]
    learned = learn_vocabulary(texts, "byte-pairs", 300)
    assert len(set(learned.words)) == len(learned)
    assert Bundle.read_vocabulary(learned.dumps(), "byte-pairs").merges == learned.merges


def test_byte_pairs_without_room_or_text_are_refused():
    with pytest.raises(UsageError, match="needs room for at least 259 tokens, not 258"):
        learn_vocabulary(LESSON, "byte-pairs", 258)
    with pytest.raises(DataError, match="too short"):
        learn_vocabulary(["ab", "cd"], "byte-pairs", 300)


def test_byte_pairs_need_the_package_that_learns_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "corelm\[train\]"'):
        learn_vocabulary(LESSON, "byte-pairs", 300)


def test_a_vocabulary_larger_than_the_text_holds_what_there_is():
    learned = learn_vocabulary(["b a b", "c"], "words", 100)
    assert learned.words == ("", "[UNK]", "[end]", "b", "c", "a")


def test_a_vocabulary_without_room_or_words_is_refused():
    with pytest.raises(UsageError, match="room for at least 4 tokens, not 3"):
        learn_vocabulary(LESSON, "words", 3)
    with pytest.raises(DataError, match="no tokens of the style 'words'"):
        learn_vocabulary(["!!!", "..."], "words", 100)


def test_other_texts_have_another_digest():
    assert Corpus.digest(["a\ud800", "b"]) == Corpus.digest(["a\ud800", "b"])
    assert len({Corpus.digest(each) for each in (["a", "b"], ["b", "a"], ["ab"], ["a\ud800"])}) == 4


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs a device")
def test_a_device_is_refused_unread():
    with pytest.raises(DataError, match="'/dev/zero' is a device; give a file or a folder"):
        Corpus.of("/dev/zero")


def test_a_file_beyond_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "LARGEST_FILE", 10)
    (tmp_path / "large.txt").write_text("a few words")
    with pytest.raises(DataError, match=r"large.txt' has more than 10 bytes; give a part of it"):
        Corpus.of(tmp_path / "large.txt")


def test_a_file_of_five_gigabytes_is_refused_unread(tmp_path):
    file = tmp_path / "large.txt"
    file.touch()
    os.truncate(file, 5 * 2**30)  # sparse: it takes no room
    with pytest.raises(DataError, match=r"large.txt' has more than 1073741824 bytes"):
        Corpus.of(file)
