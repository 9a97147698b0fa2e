"""Marks in the text of tokens: where they are found, and that remembering them changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelm.bundles import BytePairVocabulary
from corelm.errors import UsageError
from corelm.filters import find_in_turn
from corelm.testing import ToyModel
from corelm.tokens import texts as token_texts

REMEMBERED = token_texts._remembered
LETTERS = ToyModel("abc()").vocabulary
BYTES = BytePairVocabulary([("<", "t"), ("t", "h")])


class Special:
    """Ids 0 to 9 are their digits; 10 is a special token without text."""

    padding = unknown = start = None
    ends = ()

    def __len__(self):
        return 11

    def encode(self, text):
        return [10] if text == "</think>" else [int(digit) for digit in text]

    def decode(self, ids):
        return "".join(str(i) for i in ids if i < 10)


@pytest.fixture(autouse=True)
def _forgotten():
    REMEMBERED.clear()


@pytest.mark.parametrize(
    ("text", "marks", "places"),
    [
        ("", "()", ()),
        ("a b", "()", ()),
        ("( a ) b", "()", (1, 3)),
        ("( ( a ) ) b (", "()", (1, 4, 7)),
        (") (", "()", (2,)),
        ("( b ( a", ["(", ")"], (1,)),
        ("a b a a", ["a", "a"], (1, 3, 4)),
        ("a b c a b", ["a b", "c"], (2, 3, 5)),
        ("a a b", ["a a b"], (3,)),
        ("a b a b a", ["a b a"], (3,)),
        ("a", [LETTERS.encode("a")[0]], (1,)),
        ("a b ( a )", ["b", LETTERS.encode("a")[0]], (2, 4)),
        ("a b a", [LETTERS.encode("a")[0], "b"], (1, 2, 3)),
    ],
)
def test_the_marks_are_found_in_turn(text, marks, places):
    ids = np.array(LETTERS.encode(text), dtype=np.int64)
    assert find_in_turn(ids, marks, LETTERS) == places


@pytest.mark.parametrize(
    ("text", "marks", "places"),
    [
        ("a<think>b</think>c", ["<think>", "</think>"], (7, 15)),  # `th` is one token
        ("xé", ["é"], (3,)),  # two bytes
        ("()()", ["()"], (2, 4)),
    ],
)
def test_a_mark_may_span_tokens_of_bytes(text, marks, places):
    assert find_in_turn(np.array(BYTES.encode(text)), marks, BYTES) == places


def test_a_token_may_hold_several_marks():
    vocabulary = ToyModel(["((", ")x(", "a()"]).vocabulary
    ids = np.array(vocabulary.encode("(( )x( a()"))
    assert find_in_turn(ids, "()", vocabulary) == (1, 2, 2, 3)


def test_a_special_token_is_found_by_its_id():
    assert find_in_turn(np.array([1, 10, 2]), ["</think>", "2"], Special()) == (2, 3)
    assert find_in_turn(np.array([1, 1, 2]), ["11"], Special()) == (2,)


def test_ids_need_no_vocabulary():
    assert find_in_turn(np.array([5, 3, 5, 4]), [5, 4], None) == (1, 4)
    with pytest.raises(UsageError) as caught:
        find_in_turn(np.array([5]), ["("], None)
    assert str(caught.value) == (
        "the text '(' cannot be found where there is no vocabulary; give a token id, or sample "
        "from a model"
    )


TEXTS = st.lists(st.integers(2, 7), max_size=12)


@given(st.lists(TEXTS, max_size=6))
def test_what_is_remembered_changes_nothing(texts):
    """Texts that grow, fork, shrink and repeat have the answers of texts that are new."""
    asked = [text[:n] for text in texts for n in [*range(len(text) + 1), len(text), 0, 1]]
    answers = [find_in_turn(np.array(t, dtype=np.int64), "()", LETTERS) for t in asked]
    for text, answer in zip(asked, answers, strict=True):
        REMEMBERED.clear()
        assert find_in_turn(np.array(text, dtype=np.int64), "()", LETTERS) == answer


def test_a_growing_text_is_read_once():
    class Counting(Special):
        read = 0

        def writer(self):
            def write(token):
                Counting.read += 1
                return str(token)

            return write

    vocabulary, ids = Counting(), np.arange(10)
    for n in range(11):
        find_in_turn(ids[:n], ["7"], vocabulary)
    assert Counting.read == 10


def test_no_more_than_so_many_texts_are_remembered(monkeypatch):
    monkeypatch.setattr(token_texts, "REMEMBERED", 3)
    for n in range(9):
        find_in_turn(np.array([n]), ["7"], Special())
    assert len(REMEMBERED) == 3
