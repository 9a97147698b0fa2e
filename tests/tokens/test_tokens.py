"""Single tokens: of the past, and their logits."""

from __future__ import annotations

import numpy as np
import pytest

from corelm import Context
from corelm.filters import (
    allow_all_but,
    change_logits,
    remove_tokens,
    token_counts,
)

INF = float("inf")
FLOATS = (np.float32, np.float64)

# The past


@pytest.mark.parametrize(
    ("last", "skip_prompt", "expected"),
    [
        # five tokens, the first three of them the prompt
        (0, False, [[1, 2, 3, 4, 5]]),
        (1, False, [[5]]),
        (4, False, [[2, 3, 4, 5]]),
        (5, False, [[1, 2, 3, 4, 5]]),
        (10**30, False, [[1, 2, 3, 4, 5]]),
        (0, True, [[4, 5]]),
        (1, True, [[5]]),
        (4, True, [[4, 5]]),
    ],
)
def test_the_tokens_that_count(last, skip_prompt, expected):
    context = Context.of([[1, 2, 3, 4, 5]], prompt_length=3)
    assert context.past(last, skip_prompt).tolist() == expected


def test_an_empty_past_has_no_tokens():
    empty = Context.of(np.empty((2, 0), dtype=np.int64))
    assert empty.past(last=3).shape == (2, 0)
    assert [part.tolist() for part in token_counts(empty.past(), 5)] == [[], [], []]


def test_the_past_cannot_be_written():
    assert not Context.of([[1, 2]]).past(last=1).flags.writeable


def test_tokens_are_counted_row_by_row():
    rows, ids, counts = token_counts([[7, 1, 7, 7], [1, 0, 1, 2]], vocabulary=8)
    assert list(zip(rows.tolist(), ids.tolist(), counts.tolist(), strict=True)) == [
        (0, 1, 1),
        (0, 7, 3),
        (1, 0, 1),
        (1, 1, 2),
        (1, 2, 1),
    ]


def test_ids_outside_the_vocabulary_are_not_counted():
    rows, ids, counts = token_counts([[-1, 3, 4, 3]], vocabulary=4)
    assert (rows.tolist(), ids.tolist(), counts.tolist()) == ([0], [3], [2])


# Their logits


@pytest.mark.parametrize("dtype", FLOATS)
def test_some_tokens_change_or_are_removed_in_a_copy(dtype):
    logits = np.array([[1, 2, 3], [4, 5, 6]], dtype=dtype)
    changed = change_logits(logits, [0, 1], [2, 0], lambda logit: logit * 10)
    assert changed.tolist() == [[1, 2, 30], [40, 5, 6]]
    removed = remove_tokens(logits, [0, 1], [2, 0])
    assert removed.tolist() == [[1, 2, -INF], [-INF, 5, 6]]
    assert changed.dtype == removed.dtype == dtype
    assert logits.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_change_removes_no_token_and_brings_none_back(dtype):
    logits = np.array([[-INF, 1.0, -1.0, 0.0]], dtype=dtype)
    largest = np.finfo(dtype).max

    def change(logit):
        return logit * 1e300 * 1e300 + 5

    changed = change_logits(logits, [[0]], [0, 1, 2, 3], lambda logit: change(logit + 0.5))
    assert changed.tolist() == [[-INF, largest, -largest, largest]]


@pytest.mark.parametrize("subtract", [0.0, 2.5, -1e300, [1e-3, np.inf, -7.0], "each"])
@pytest.mark.parametrize("divide", [1.0, 1.3, 1e-30])
@pytest.mark.parametrize("rows", [[[0], [2]], [[2], [0]], [0, 0, 1], [1, 0, 1], None])
def test_a_division_and_a_subtraction_have_the_bits_of_the_function(rows, divide, subtract):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (3, 40)).astype(np.float32)
    logits[:, 7], logits[0, 4], logits[2, 4] = -INF, -0.0, np.finfo(np.float32).max
    ids = [4, 7, 30]
    if subtract == "each":
        shape = (3,) if rows is None else np.broadcast_shapes(np.shape(rows), (3,))
        subtract = rng.normal(0, 3, shape)

    def change(logit):
        return np.where(logit > 0, logit / divide, logit * divide) - subtract

    expected = change_logits(logits, rows, ids, change)
    changed = change_logits(logits, rows, ids, divide=divide, subtract=subtract)
    assert changed.tobytes() == expected.tobytes()
    assert changed.dtype == np.float32
    wide = logits.astype(np.float64)
    expected = change_logits(wide, rows, ids, change)
    changed = change_logits(wide, rows, ids, divide=divide, subtract=subtract)
    assert changed.tobytes() == expected.tobytes()


def test_every_row_has_ids_of_its_own():
    for dtype in FLOATS:
        changed = change_logits(
            np.zeros((2, 3), dtype), None, [[0, 1], [2, 2]], subtract=[[1, 2], [3, 3]]
        )
        assert changed.tolist() == [[-1, -2, 0], [0, 0, -3]]


def test_ids_outside_the_vocabulary_are_left_out_with_their_numbers():
    logits = np.zeros((1, 3), np.float32)
    changed = change_logits(logits, [0], [9, 1, -1, 0], subtract=[1, 2, 3, 4])
    assert changed.tolist() == [[-4, -2, 0]]


def test_a_row_that_would_be_left_empty_keeps_its_likeliest_token():
    logits = np.array([[1.0, 2.0, 2.0], [-INF, 5.0, -INF], [1.0, 2.0, 3.0]])
    removed = remove_tokens(logits, [0, 0, 0, 1, 2], [0, 1, 2, 1, 0])
    assert removed.tolist() == [[-INF, 0, -INF], [-INF, 0, -INF], [-INF, 2.0, 3.0]]


def test_nothing_to_change_or_remove_is_a_copy():
    logits = np.array([[1.0, 2.0]])
    assert remove_tokens(logits, [], []).tolist() == [[1.0, 2.0]]
    assert change_logits(logits, [], [], lambda logit: logit - 1).tolist() == [[1.0, 2.0]]
    for each in (logits, logits.astype(np.float32)):
        for rows in ([], None):
            assert change_logits(each, rows, [], subtract=[]).tolist() == [[1.0, 2.0]]


def test_tokens_are_forbidden_in_every_row():
    context = Context.of([[0], [1]], vocabulary_size=3)
    allowed = allow_all_but(context, None, [2, 9, -1])
    assert allowed.tolist() == [[True, True, False]] * 2
    assert allow_all_but(context, None, ()).all()


def test_a_change_may_be_one_number_for_all():
    changed = change_logits(np.array([[1.0, -np.inf, 3.0]]), 0, [0, 1], lambda logit: 0.5)
    assert changed.tolist() == [[0.5, -np.inf, 3.0]]
