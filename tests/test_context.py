"""The context: every state that a strategy needs, read-only."""

from __future__ import annotations

import numpy as np
import pytest

from corelm import Context


def drawn_two():
    """Two rows: a prompt of two tokens, then two drawn ones."""
    return Context(
        tokens=np.array([[5, 6, 7, 8], [5, 6, 9, 9]]),
        surprisal=np.array([[np.nan, np.nan, 0.5, 1.5], [np.nan, np.nan, 2.0, 0.0]]),
        model_surprisal=np.array([[np.nan, np.nan, 0.7, 1.7], [np.nan, np.nan, 2.2, 0.2]]),
        prompt_length=2,
    )


def test_the_position_counts_what_was_drawn():
    assert drawn_two().position == 2
    assert Context.of([[5, 6]]).position == 0


def test_drawn_is_what_comes_after_the_prompt():
    assert drawn_two().drawn.tolist() == [[7, 8], [9, 9]]


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


def test_an_empty_context():
    context = Context.of(np.empty((2, 0), dtype=int))
    assert (context.tokens.shape, context.position, context.drawn.shape) == ((2, 0), 0, (2, 0))


def test_surprisals_can_be_passed():
    context = Context.of([[3, 4]], prompt_length=1, surprisal=np.array([[np.nan, 0.25]]))
    assert context.position == 1
    assert context.surprisal[0, 1] == 0.25
