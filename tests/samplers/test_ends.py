"""Length bias and least length: when a text may end, and how likely that is."""

from __future__ import annotations

import numpy as np
import pytest

from corelm import Context, generate, sampler, sampling_distribution
from corelm.testing import ToyModel

INF = float("inf")
ENDING = ToyModel(["so"], logits=[0, 0, 1, 3])  # padding, unknown, end, so
EVEN = ToyModel(["so"], logits=[0, 0, 1, 0])
LOGITS = np.array([[0.0, 0.0, 1.0, 3.0]])


class TwoEnds:
    ends = (1, 3)

    def __len__(self):
        return 4


def after(expression, drawn, logits=LOGITS, vocabulary=ENDING.vocabulary):
    tokens = np.full((len(logits), drawn + 2), 3)
    context = Context.of(tokens, prompt_length=2, vocabulary=vocabulary)
    return sampler(expression)(logits, context)


@pytest.mark.parametrize(
    ("expression", "drawn", "end"),
    [
        # the weight is added for each token after the start
        ("length_bias(1, start=0)", 0, 1),
        ("length_bias(1, start=0)", 1, 2),
        ("length_bias(0.5, start=2)", 2, 1),
        ("length_bias(0.5, start=2)", 5, 2.5),
        ("length_bias(-2, start=1)", 3, -3),
        ("length_bias(9, start=4)", 1, 1),
        # the end is impossible until n tokens are drawn
        ("min_length(0)", 0, 1),
        ("min_length(1)", 0, -INF),
        ("min_length(1)", 1, 1),
        ("min_length(3)", 2, -INF),
        ("min_length(3)", 3, 1),
        ("min_length(3)", 4, 1),
    ],
)
def test_the_logit_of_the_end(expression, drawn, end):
    assert after(expression, drawn).tolist() == [[0, 0, end, 3]]
    both = after(expression, drawn, np.repeat(LOGITS, 2, axis=0))
    assert both.tolist() == [[0, 0, end, 3]] * 2


@pytest.mark.parametrize(
    ("expression", "drawn", "expected"),
    [
        ("length_bias(1)", 2, [[0, 7, 1, -INF], [2, 2, 0, 3]]),
        ("min_length(1)", 0, [[0, -INF, 1, -INF], [2, -INF, 0, -INF]]),
    ],
)
def test_every_end_of_every_row(expression, drawn, expected):
    logits = np.array([[0.0, 5.0, 1.0, -INF], [2.0, 0.0, 0.0, 1.0]])
    assert after(expression, drawn, logits, TwoEnds()).tolist() == expected


def test_where_no_text_can_end_nothing_changes():
    endless = ToyModel(["so"], end=False).vocabulary
    assert after("min_length(3)", 0, vocabulary=endless) is LOGITS
    assert after("min_length(3)", 0, vocabulary=None) is LOGITS
    p = sampling_distribution(sampler("length_bias(9)"), [0.0, 0.0], tokens=[0])
    assert p.tolist() == [0.5] * 2


def test_the_end_stays_if_nothing_else_is_possible():
    only = np.array([[-INF, -INF, 1.0, -INF]])
    assert after("min_length(3)", 0, logits=only).tolist() == [[-INF, -INF, 0.0, -INF]]


@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_a_text_has_at_least_n_tokens_before_its_end(n):
    texts = generate(EVEN, "so", sampler=f"min_length({n})", length=60, n=20, seed=1)
    lengths = [list(text.tokens).index(2) for text in texts]  # 2 is the end
    assert min(lengths) == n
    assert max(lengths) < 60


@pytest.mark.slow
def test_the_lengths_follow_the_distribution():
    """The chance to end after n tokens is e^(1 + n) : e^3."""
    texts = generate(ENDING, "so", sampler="length_bias(1)", length=30, n=4000, seed=1)
    lengths = np.array([list(text.tokens).index(2) for text in texts])
    ends = np.array([1 / (1 + np.exp(2 - n)) for n in range(30)])
    expected = ends * np.cumprod([1, *(1 - ends[:-1])])
    shares = np.bincount(lengths, minlength=30) / len(texts)
    assert np.abs(shares - expected).max() < 4 * np.sqrt(0.25 / len(texts))
