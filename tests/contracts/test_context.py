"""The context: every state that a strategy needs, read-only."""

from __future__ import annotations

import numpy as np
import pytest

from corelm import Context
from corelm.errors import UsageError
from corelm.runs import ContextBuilder


def drawn_two():
    """Two rows: a prompt of two tokens, then two drawn ones."""
    builder = ContextBuilder(np.array([5, 6]), batch=2)
    builder.append(np.array([7, 9]), np.array([0.5, 2.0]), np.array([0.7, 2.2]))
    builder.append(np.array([8, 9]), np.array([1.5, 0.0]), np.array([1.7, 0.2]))
    return builder.context


def test_the_position_counts_what_was_drawn():
    assert drawn_two().position == 2
    assert Context.of([[5, 6]]).position == 0


@pytest.mark.parametrize("name", ["tokens", "surprisal", "model_surprisal"])
def test_the_arrays_are_read_only(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(drawn_two(), name)[0, 0] = 1


def test_the_array_that_was_given_stays_as_it_was():
    tokens = np.array([[1, 2]])
    Context.of(tokens)
    tokens[0, 0] = 3
    assert tokens.tolist() == [[3, 2]]


def test_one_text_is_a_batch_of_one():
    context = Context.of(np.array([3, 4, 5], dtype=np.int32))
    assert context.tokens.tolist() == [[3, 4, 5]]
    assert context.tokens.dtype == np.int64
    assert context.prompt_length == 3
    assert np.isnan(context.surprisal).all()
    assert np.isnan(context.model_surprisal).all()
    assert context.surprisal.shape == (1, 3)


def test_surprisals_can_be_passed():
    context = Context.of([[3, 4]], prompt_length=1, surprisal=np.array([[np.nan, 0.25]]))
    assert context.position == 1
    assert context.surprisal[0, 1] == 0.25


# While it grows


def test_the_context_grows_beyond_its_room():
    builder = ContextBuilder(np.array([5, 6]), batch=2, ahead=1)
    for i in range(40):
        builder.append(np.array([i, i + 100]), np.array([0.5, i]), np.array([1.5, 2.5]))
    context = builder.context
    assert context.tokens.tolist() == [[5, 6, *range(40)], [5, 6, *range(100, 140)]]
    assert context.surprisal[0, 2:].tolist() == [0.5] * 40
    assert context.surprisal[1, 2:].tolist() == list(range(40))
    assert context.model_surprisal[1, 2:].tolist() == [2.5] * 40
    assert np.isnan(context.surprisal[:, :2]).all()
    assert (context.prompt_length, context.position) == (2, 40)


def test_an_earlier_context_does_not_change():
    builder = ContextBuilder(np.array([5]), batch=1, ahead=4)
    builder.append(np.array([6]), np.array([0.1]), np.array([0.2]))
    early = builder.context
    builder.append(np.array([7]), np.array([0.3]), np.array([0.4]))
    assert early.tokens.tolist() == [[5, 6]]
    assert builder.context.tokens.tolist() == [[5, 6, 7]]


def test_rows_can_be_dropped_forked_and_reordered():
    builder = ContextBuilder(np.array([], dtype=int), batch=3, ahead=4)
    builder.append(np.array([1, 2, 3]), np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]))
    builder.select(np.array([2, 0, 0]))
    builder.append(np.array([4, 5, 6]), np.zeros(3), np.zeros(3))
    assert builder.context.tokens.tolist() == [[3, 4], [1, 5], [1, 6]]
    assert builder.context.surprisal[:, 0].tolist() == [0.3, 0.1, 0.1]
    assert builder.context.model_surprisal[:, 0].tolist() == [3.0, 1.0, 1.0]


def test_model_surprisals_may_be_left_out():
    builder = ContextBuilder(np.array([5]), batch=1, ahead=2)
    builder.append(np.array([6]), np.array([0.1]))
    builder.append(np.array([7]), np.array([0.2]), np.array([0.3]))
    assert np.isnan(builder.context.model_surprisal[0, :2]).all()
    assert builder.context.model_surprisal[0, 2] == 0.3


def test_tokens_are_dropped_and_contexts_from_before_keep_them():
    builder = ContextBuilder(np.array([5]), batch=2, ahead=4)
    for token in (6, 7, 8):
        builder.append(np.array([token, token]), np.array([0.1, 0.2]), np.array([0.5, 0.6]))
    before = builder.context
    builder.rewind(2)
    assert (builder.position, builder.context.tokens.tolist()) == (1, [[5, 6], [5, 6]])
    builder.append(np.array([9, 9]), np.array([0.3, 0.4]))
    assert builder.context.tokens.tolist() == [[5, 6, 9], [5, 6, 9]]
    assert builder.context.surprisal[0, 1:].tolist() == [0.1, 0.3]
    assert builder.context.model_surprisal[:, 1].tolist() == [0.5, 0.6]
    assert np.isnan(builder.context.model_surprisal[:, 2]).all()  # left out, as at first
    assert before.tokens.tolist() == [[5, 6, 7, 8]] * 2
    assert before.model_surprisal[0, 1:].tolist() == [0.5] * 3
    with pytest.raises(UsageError, match="2 tokens were drawn, so the last 3 can't be dropped"):
        builder.rewind(3)
