"""The part of a batch of texts that a model sees."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import numbered_words

from corelm.bundles import SlidingWindow
from corelm.errors import UsageError

PLAIN, ENDING = numbered_words(30), numbered_words(30, end=True)


def seen(window, count=1):
    """Return the windows in which a model sees the last tokens of row 0."""
    return [
        (window.texts[0, start:stop].tolist(), asked) for start, stop, asked in window.spans(count)
    ]


def test_a_short_text_is_seen_whole():
    window = SlidingWindow([[3, 4], [5, 6]], PLAIN, 4)
    window.extend([7, 8])
    assert window.texts.tolist() == [[3, 4, 7], [5, 6, 8]]
    assert seen(window) == [([3, 4, 7], 1)]
    assert seen(window, 3) == [([3, 4, 7], 3)]


def test_a_long_text_is_seen_through_a_window_that_moves_by_half_a_context():
    window = SlidingWindow([[3]], PLAIN, 4)
    views = []
    for token in range(4, 12):
        window.extend([token])
        views += seen(window)
    assert views == [
        ([3, 4], 1),
        ([3, 4, 5], 1),
        ([3, 4, 5, 6], 1),
        ([5, 6, 7], 1),  # it moved
        ([5, 6, 7, 8], 1),
        ([7, 8, 9], 1),
        ([7, 8, 9, 10], 1),
        ([9, 10, 11], 1),
    ]
    # the last seven tokens, each through the window that was there when it was the last
    assert seen(window, 7) == [
        ([3, 4, 5, 6], 2),
        ([5, 6, 7, 8], 2),
        ([7, 8, 9, 10], 2),
        ([9, 10, 11], 1),
    ]


@pytest.mark.parametrize("context", [1, 2, 3, 5, 8])
def test_the_window_depends_on_the_length_alone(context):
    text = np.arange(3, 25)[None]
    for length in range(1, 22):
        at_once = SlidingWindow(text[:, :length], PLAIN, context)
        in_two = SlidingWindow(text[:, :1], PLAIN, context)
        in_two.extend(text[:, 1:])
        in_two.rewind(22 - length)
        one_by_one = [
            (before[-1], 1)
            for end in range(1, length + 1)
            for [(before, _)] in [seen(SlidingWindow(text[:, :end], PLAIN, context))]
        ]
        assert seen(at_once) == seen(in_two)
        together = [(t, 1) for view, n in seen(at_once, length) for t in view[-n:]]
        assert together == one_by_one == [(t, 1) for t in text[0, :length]]


def test_the_end_token_begins_a_text_and_counts():
    assert seen(SlidingWindow([[5, 6]], ENDING, 4)) == [([2, 5, 6], 1)]
    assert seen(SlidingWindow([[5, 6, 7, 8]], ENDING, 4)) == [([6, 7, 8], 1)]
    assert SlidingWindow(np.empty((3, 0)), ENDING, 4).texts.tolist() == [[2], [2], [2]]


def test_no_tokens_change_nothing():
    window = SlidingWindow([[3], [4]], PLAIN, 4)
    window.extend(np.empty((2, 0)))
    window.rewind(0)
    assert window.texts.tolist() == [[3], [4]]


def test_the_start_of_a_text_stays():
    with pytest.raises(UsageError, match="a text of 2 tokens cannot lose its last 2"):
        SlidingWindow([[3, 4]], PLAIN, 4).rewind(2)
    window = SlidingWindow([[3, 4]], ENDING, 4)
    window.rewind(2)
    assert window.texts.tolist() == [[2]]
    with pytest.raises(UsageError, match="a text of 1 tokens cannot lose its last -1"):
        window.rewind(-1)


@pytest.mark.parametrize("count", [-1, 0, 3])
def test_tokens_that_are_not_there_cannot_be_looked_at(count):
    with pytest.raises(UsageError, match=f"there are no last {count} tokens in a text of 2"):
        list(SlidingWindow([[3, 4]], PLAIN, 4).spans(count))


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ([3, 4], r"tokens must be \(batch, time\) ids, not an array of shape \(2,\)"),
        ([[[3]]], r"not an array of shape \(1, 1, 1\)"),
        ([[3, 30]], "there is no token 30; the ids are 0 to 29"),
        ([[-1]], "there is no token -1"),
        ([[3.0]], "tokens must be whole numbers, not float64"),
        (np.empty((1, 0)), "this model cannot continue an empty text"),
    ],
)
def test_invalid_tokens_are_refused(tokens, reason):
    with pytest.raises(UsageError, match=reason):
        SlidingWindow(tokens, PLAIN, 4)


def test_tokens_for_another_batch():
    window = SlidingWindow([[3], [4]], PLAIN, 4)
    with pytest.raises(UsageError, match=r"tokens must be \(2,\) or \(2, time\), not \(3, 1\)"):
        window.extend([5, 6, 7])


def test_texts_of_different_lengths_have_windows_of_their_own():
    window = SlidingWindow([[3, 4, 5, 6, 7], [8], [9, 10]], PLAIN, 4)
    assert (window.length, window.is_equal) == (5, False)
    assert window.lengths.tolist() == [5, 1, 2]
    assert window.runs == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert window.starts(5).tolist() == [2, 0, 0]
    seen = window.windows(window.starts(5))
    assert [seen[0].tolist(), seen[1, :1].tolist(), seen[2, :2].tolist()] == [
        [5, 6, 7], [8], [9, 10]
    ]  # fmt: skip
    window.extend([[11, 12], [13, 14], [15, 16]])
    assert window.texts[1, :3].tolist() == [8, 13, 14]
    assert [*window.spans(1, slice(1, 2))] == [(0, 3, 1)]
    window.extend([17, 18, 19])
    assert window.starts(window.length).tolist() == [4, 0, 2]


def test_rows_of_one_length_are_one_run():
    window = SlidingWindow([[3], [4], [5, 6], [7, 8], [9]], ENDING, 4)
    assert window.runs == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert window.texts[:, 0].tolist() == [ENDING.start] * 5
    window.select(np.array([0, 4]))
    assert (window.runs, window.length, window.is_equal) == ([slice(0, 2)], 2, True)
