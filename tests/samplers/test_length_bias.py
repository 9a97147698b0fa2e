"""Length bias: the end becomes more likely with each drawn token."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.length_bias import LengthBias

from corelm import Context, generate, sampling_distribution
from corelm.testing import ToyModel

INF = float("inf")
ENDING = ToyModel(["so"], logits=[0, 0, 1, 3])  # padding, unknown, end, so
LOGITS = np.array([[0.0, 0.0, 1.0, 3.0]])


def after(bias, drawn, logits=LOGITS, vocabulary=ENDING.vocabulary):
    tokens = np.full((len(logits), drawn + 2), 3)
    return bias(logits, Context.of(tokens, prompt_length=2, vocabulary=vocabulary)).tolist()


@pytest.mark.parametrize(
    ("weight", "start", "drawn", "end"),
    [(1, 0, 0, 1), (1, 0, 1, 2), (0.5, 2, 2, 1), (0.5, 2, 5, 2.5), (-2, 1, 3, -3), (9, 4, 1, 1)],
)
def test_the_weight_is_added_for_each_token_after_the_start(weight, start, drawn, end):
    assert after(LengthBias(weight=weight, start=start), drawn) == [[0, 0, end, 3]]


def test_every_end_of_every_row():
    class TwoEnds:
        ends = (1, 3)

        def __len__(self):
            return 4

    logits = np.array([[0.0, 5.0, 1.0, -INF], [2.0, 0.0, 0.0, 1.0]])
    found = after(LengthBias(weight=1), 2, logits, TwoEnds())
    assert found == [[0, 7, 1, -INF], [2, 2, 0, 3]]


def test_without_a_vocabulary_nothing_can_end():
    assert sampling_distribution(LengthBias(weight=9), [0.0, 0.0], tokens=[0]).tolist() == [0.5] * 2


@pytest.mark.slow
def test_the_lengths_follow_the_distribution():
    """The chance to end after n tokens is e^(1 + n) : e^3."""
    texts = generate(ENDING, "so", sampler=LengthBias(weight=1), length=30, n=4000, seed=1)
    lengths = np.array([list(text.tokens).index(2) for text in texts])
    ends = np.array([1 / (1 + np.exp(2 - n)) for n in range(30)])
    expected = ends * np.cumprod([1, *(1 - ends[:-1])])
    shares = np.bincount(lengths, minlength=30) / len(texts)
    assert np.abs(shares - expected).max() < 4 * np.sqrt(0.25 / len(texts))
