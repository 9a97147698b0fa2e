"""Least length: the end token cannot be drawn before n tokens."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.min_length import MinLength

from corelm import Context, generate
from corelm.testing import ToyModel

INF = float("inf")
ENDING = ToyModel(["so"], logits=[0, 0, 1, 0])  # padding, unknown, end, so
LOGITS = np.array([[0.0, 0.0, 1.0, 0.0]])


def after(n, drawn, prompt=2, logits=LOGITS, vocabulary=ENDING.vocabulary):
    tokens = np.full((len(logits), prompt + drawn), 3)
    context = Context.of(tokens, prompt_length=prompt, vocabulary=vocabulary)
    return MinLength(n=n)(logits, context)


@pytest.mark.parametrize(
    ("n", "drawn", "end"), [(0, 0, 1), (1, 0, -INF), (1, 1, 1), (3, 2, -INF), (3, 3, 1), (3, 4, 1)]
)
def test_the_end_is_impossible_until_n_tokens_are_drawn(n, drawn, end):
    assert after(n, drawn).tolist() == [[0, 0, end, 0]]


def test_each_of_several_ends_is_impossible():
    class TwoEnds:
        ends = (1, 3)
        __len__ = lambda self: 4  # noqa: E731

    logits = np.array([[0.0, 5.0, 1.0, 0.0], [2.0, 0.0, 0.0, 1.0]])
    expected = [[0, -INF, 1, -INF], [2, -INF, 0, -INF]]
    assert after(1, 0, logits=logits, vocabulary=TwoEnds()).tolist() == expected


def test_in_every_row():
    assert after(1, 0, logits=np.repeat(LOGITS, 2, axis=0)).tolist() == [[0, 0, -INF, 0]] * 2


@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_a_text_has_at_least_n_tokens_before_its_end(n):
    texts = generate(ENDING, "so", sampler=MinLength(n=n), length=60, n=20, seed=1)
    lengths = [list(text.tokens).index(2) for text in texts]  # 2 is the end
    assert min(lengths) == n
    assert max(lengths) < 60


def test_the_end_stays_if_nothing_else_is_possible():
    only = np.array([[-INF, -INF, 1.0, -INF]])
    assert after(3, 0, logits=only).tolist() == [[-INF, -INF, 0.0, -INF]]


def test_a_model_whose_texts_have_no_end_and_no_model_change_nothing():
    endless = ToyModel(["so"], end=False).vocabulary
    assert after(3, 0, vocabulary=endless) is LOGITS
    assert after(3, 0, vocabulary=None) is LOGITS
