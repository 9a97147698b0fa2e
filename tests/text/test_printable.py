"""Text for people: no control characters, reasons in one line, close names."""

from __future__ import annotations

import pytest

from corelm.runs import printable
from corelm.text.printable import message_of, reason_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("tab\tand\nnewline", "tab\tand\nnewline"),
        ("a\x1b]52;c;bHM=\x07b", "a]52;c;bHM=b"),
        ("\x9b31mred", "31mred"),
        ("\r\x00\x7f", ""),
        ("\u202eleft\u2066\u2067\u2069\u202c", "left"),
        ("\ud800", "\ufffd"),
        ("שלום 🎬 é", "שלום 🎬 é"),
    ],
)
def test_control_characters_are_removed(text, expected):
    assert printable.strip_controls(text) == expected


def test_one_line_has_single_spaces():
    assert printable.one_line("  two\n\tlines\x1b \n") == "two lines"


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no good\nat all"), "ValueError: no good"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("\x1bred"), "ValueError: red"),
        (MuteError(), "MuteError: (no message: RuntimeError in its __str__)"),
    ],
)
def test_the_reason_of_an_error_is_its_type_and_its_first_line(error, reason):
    assert reason_of(error) == reason


def test_the_message_of_an_error_is_whole():
    assert message_of(ValueError("no good\nat all")) == "no good\nat all"


class Nameless:
    def __repr__(self):
        raise RuntimeError


class Leaves:
    def __repr__(self):
        raise SystemExit(5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a" * 58, repr("a" * 58)),
        ("a" * 59, "'" + "a" * 39 + "... (61 characters)"),
        (10**5000, "a number of thousands of digits"),
        (Nameless(), "a Nameless (RuntimeError in its __repr__)"),
        (Leaves(), "a Leaves (SystemExit in its __repr__)"),
    ],
    ids=["short", "long", "large", "nameless", "leaves"],
)
def test_a_value_is_shown_in_one_short_line(value, expected):
    assert printable.shown(value) == expected


@pytest.mark.parametrize(
    ("word", "cutoff", "expected"),
    [
        ("temprature", 0.6, "; did you mean 'temperature'?"),
        ("temp", 0.6, ""),
        ("temp", 0.5, "; did you mean 'temperature'?"),
        ("xyz", 0.6, ""),
    ],
)
def test_the_closest_name_is_suggested(word, cutoff, expected):
    assert printable.did_you_mean(word, ["greedy", "temperature"], cutoff) == expected


@pytest.mark.parametrize(("count", "text"), [(0, "0 texts"), (1, "1 text"), (2000, "2,000 texts")])
def test_a_count(count, text):
    assert printable.counted(count, "text") == text
