"""What a model sees of a batch of texts."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import numbered_words

from corelm.errors import UsageError
from corelm.model.window import Window

PLAIN, ENDING = numbered_words(30), numbered_words(30, end=True)


def test_a_short_text_is_seen_whole():
    window = Window([[3, 4], [5, 6]], PLAIN, 4)
    assert window.extend([7, 8]) == 1
    assert window.tokens.tolist() == [[3, 4, 7], [5, 6, 8]]


def test_a_long_text_is_seen_through_a_window_that_moves_by_half_a_context():
    window = Window([[3]], PLAIN, 4)
    seen = []
    for token in range(4, 12):
        new = window.extend([token])
        seen.append((window.tokens[0].tolist(), new))
    assert seen == [
        ([3, 4], 1),
        ([3, 4, 5], 1),
        ([3, 4, 5, 6], 1),
        ([5, 6, 7], 3),  # it moved: everything stands in another place
        ([5, 6, 7, 8], 1),
        ([7, 8, 9], 3),
        ([7, 8, 9, 10], 1),
        ([9, 10, 11], 3),
    ]


def test_what_is_seen_depends_on_the_length_alone():
    text = np.arange(3, 25)[None]
    for length in range(1, 22):
        at_once = Window(text[:, :length], PLAIN, 5)
        in_two = Window(text[:, :1], PLAIN, 5)
        in_two.extend(text[:, 1:length])
        assert at_once.tokens.tolist() == in_two.tokens.tolist()


def test_the_end_token_begins_a_text_and_counts():
    assert Window([[5, 6]], ENDING, 4).tokens.tolist() == [[2, 5, 6]]
    assert Window([[5, 6, 7, 8]], ENDING, 4).tokens.tolist() == [[6, 7, 8]]
    assert Window(np.empty((3, 0)), ENDING, 4).tokens.tolist() == [[2], [2], [2]]


def test_no_tokens_are_nothing_new():
    window = Window([[3], [4]], PLAIN, 4)
    assert window.extend(np.empty((2, 0))) == 0
    assert window.tokens.tolist() == [[3], [4]]


def test_rows_are_kept_dropped_and_forked():
    window = Window([[3], [4], [5]], PLAIN, 4)
    window.select(np.array([2, 0, 0]))
    window.extend([6, 7, 8])
    assert window.tokens.tolist() == [[5, 6], [3, 7], [3, 8]]


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ([3, 4], r"tokens must be \(batch, time\) ids, not an array of shape \(2,\)"),
        ([[[3]]], r"not an array of shape \(1, 1, 1\)"),
        ([[3, 30]], "there is no token 30; the ids are 0 to 29"),
        ([[-1]], "there is no token -1"),
        ([[3.0]], "tokens must be whole numbers, not float64"),
        (np.empty((1, 0)), "an empty text says nothing to this model"),
    ],
)
def test_what_are_no_tokens(tokens, reason):
    with pytest.raises(UsageError, match=reason):
        Window(tokens, PLAIN, 4)


def test_tokens_for_another_batch():
    window = Window([[3], [4]], PLAIN, 4)
    with pytest.raises(UsageError, match=r"tokens must be \(2,\) or \(2, time\), not \(3, 1\)"):
        window.extend([5, 6, 7])
