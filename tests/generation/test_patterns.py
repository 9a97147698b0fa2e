"""Patterns in a growing text: what has matched, and what may still match."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

from corelm import TextPatterns
from corelm.errors import UsageError
from corelm.generation import endings as patterns_module


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("cat", "a cat sat", (2, 2)),
        ("cat", "a ca", (None, 2)),
        ("cat", "a dog", (None, 5)),
        ("cat|a dog", "a do", (None, 0)),
        ("c.*t", "a cab", (None, 2)),
        (r"\bcat\W", "a cat", (None, 2)),
        (r"\bcat\b", "a cat", (2, 2)),  # the text so far
        ("a(?=bc)", "xab", (None, 1)),
        (r"(?<=\.)", "Yes.", (4, 4)),
        ("^cat", "a cat", (None, 5)),
        (r"(\w+) \1 ", "the the", (None, 0)),
        ("(?i)CAT", "a cat", (2, 2)),
    ],
)
def test_a_match_and_the_beginning_of_one(pattern, text, expected):
    assert TextPatterns(patterns=pattern).search(text) == expected


def test_a_search_begins_at_a_character_and_sees_those_before():
    patterns = TextPatterns(patterns=["(?<=a )cat", "^dog", "o"])
    assert patterns.search("dog a cat", 2) == (6, 6)


def test_strings_are_no_patterns():
    patterns = TextPatterns(["a.c", "{1000000000}"])
    assert patterns.search("abc {1000000000") == (None, 4)
    assert patterns.search("a.c") == (0, 0)
    assert TextPatterns("İstanbul", ignore_case=True).search("in iSTANBUL")[0] in (None, 3)


@pytest.mark.parametrize("text", ["A CAT", "a cat"])
def test_case_is_ignored_if_asked(text):
    assert TextPatterns("Cat", "x", ignore_case=True).search(text) == (2, 2)
    assert TextPatterns("Cat", "x").search(text)[0] is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"the pattern '\(' is not valid: missing \) at position 1"),
        ("a**", "is not valid: multiple repeat"),
        ("x*", "matches the empty text"),
        ("$", "matches the empty text"),
        ("a" * 1001, "is too long: give several, of at most 1,000 characters each"),
        ("(a{1000}){1000}", "the product of its counts must be at most 100,000, not 1,000,000"),
    ],
)
def test_a_pattern_that_cannot_be_used(pattern, message):
    with pytest.raises(UsageError, match=message) as caught:
        TextPatterns(patterns=pattern)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["strings", "patterns"])
def test_a_long_text_to_find_takes_no_time(kind):
    # `regex` prepares a literal in cubic time, and no timeout interrupts it.
    text = "a" * (10_000 if kind == "strings" else 500)
    began = time.process_time()
    patterns = TextPatterns(**{kind: text})
    for length in range(1, 300):
        assert patterns.search("b" + "a" * length) == (None, 1)
    assert time.process_time() - began < 5


def test_strings_are_found_where_a_regular_expression_finds_them():
    random = np.random.default_rng(0)
    for _ in range(2000):
        text = "".join(random.choice(list("abA\u017fskK"), 8))
        strings = ["".join(random.choice(list("abAsK"), n)) for n in (2, 3)]
        start, ignore_case = int(random.integers(5)), bool(random.integers(2))
        patterns = ["".join(map(re.escape, string)) for string in strings]
        found = TextPatterns(strings, ignore_case=ignore_case).search(text, start)
        assert found == TextPatterns(patterns=patterns, ignore_case=ignore_case).search(text, start)


@pytest.mark.parametrize("pattern", ["(?R)|x", "(?R)"])
def test_a_pattern_that_calls_itself_without_end_is_named(pattern):
    with pytest.raises(UsageError, match=re.escape(repr(pattern))):
        TextPatterns(patterns=pattern)


def test_the_bound_is_for_all_searches_together(monkeypatch):
    patterns = TextPatterns(patterns=r"(.*e){2}b")
    monkeypatch.setattr(patterns_module, "USUAL", 0.0)
    spent = iter([0.0, 0.0, 0.04] * 100)  # each search takes 0.04 s, and is within its own bound
    monkeypatch.setattr(patterns_module.time, "thread_time", lambda: next(spent))
    for _ in range(2):
        patterns.search("abe")
    with pytest.raises(UsageError, match="takes too long in all"):
        patterns.search("abe")


def test_many_usual_searches_stay_within_the_bound():
    patterns = TextPatterns(patterns=r"d\w+g")
    for length in range(20_000):
        patterns.search("x" * (length % 100))
    assert patterns.search("a dog") == (2, 2)
