"""No repeated n-gram: what would make n tokens that are already there is banned."""

from __future__ import annotations

import numpy as np
from corelm_samplers.no_repeat_ngram import NoRepeatNgram
from hypothesis import given
from hypothesis import strategies as st

from corelm import Context

INF = float("inf")
FOUR = np.zeros((1, 4))


def banned(n, tokens, size=4, **window):
    """The ids that are impossible after these tokens."""
    context = Context.of(np.array([tokens], dtype=np.int64))
    after = NoRepeatNgram(n=n, **window)(np.zeros((1, size)), context)
    return np.flatnonzero(after[0] == -INF).tolist()


def test_a_window_forgets_the_tokens_before_it():
    assert banned(2, [0, 1, 0], last=2) == []
    assert banned(2, [0, 1, 0], last=3) == [1]
    context = Context.of([[0, 1, 0]], prompt_length=1)
    assert NoRepeatNgram(n=2, skip_prompt=True)(FOUR, context).tolist() == FOUR.tolist()


def test_every_row_has_its_own_past():
    context = Context.of([[0, 1, 0], [0, 2, 1]])
    after = NoRepeatNgram(n=2)(np.zeros((2, 4)), context)
    assert after.tolist() == [[0, -INF, 0, 0], [0, 0, 0, 0]]


def test_the_likeliest_stays_if_everything_is_banned():
    logits = np.array([[1.0, 2.0, -INF]])
    after = NoRepeatNgram(n=1)(logits, Context.of([[0, 1]]))
    assert after.tolist() == [[-INF, 0.0, -INF]]


def test_ids_outside_the_vocabulary_ban_nothing():
    assert banned(1, [-1, 9, 2]) == [2]


@given(st.integers(0, 6), st.lists(st.integers(0, 2), max_size=12))
def test_it_bans_exactly_the_ends_of_n_grams_that_are_there(n, tokens):
    there = {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
    before = tuple(tokens[len(tokens) - n + 1 :]) if len(tokens) >= n - 1 else None
    expected = [t for t in range(4) if before is not None and (*before, t) in there]
    assert banned(n, tokens) == expected
