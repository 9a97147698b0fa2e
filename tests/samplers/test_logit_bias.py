"""Logit bias: numbers added to chosen tokens, by id or word."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.logit_bias import LogitBias

from corelm import Context, generate, sampling_distribution
from corelm.testing import ToyModel

INF = float("inf")
LOGITS = np.array([[3.0, -2.0, 0.0, 1.0]])
NOWHERE = Context.of([[0]])


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        ({0: 1}, [4, -2, 0, 1]),
        ({1: -0.5, 3: 2}, [3, -2.5, 0, 3]),
        ({0: -INF}, [-INF, -2, 0, 1]),
        ({0: -INF, 2: 5}, [-INF, -2, 5, 1]),
    ],
)
def test_the_bias_is_added(bias, expected):
    assert LogitBias(bias=bias)(LOGITS, NOWHERE).tolist() == [expected]


def test_it_is_added_to_every_row():
    after = LogitBias(bias={0: 1, 2: -INF})(np.zeros((2, 3)), Context.of([[0], [1]]))
    assert after.tolist() == [[1, 0, -INF], [1, 0, -INF]]


def test_words_are_found_in_the_vocabulary():
    model = ToyModel(["yes", "no"], end=False)  # ids 2 and 3, equally likely
    context = Context.of([[2]], vocabulary=model.vocabulary)
    after = LogitBias(bias={"no": 1.5, 2: -1})(np.zeros((1, 4)), context)
    assert after.tolist() == [[0, 0, -1, 1.5]]
    [text] = generate(model, "yes", sampler=LogitBias(bias={"no": -INF}), length=3)
    assert text.text == " yes yes yes"


def test_a_token_that_is_named_twice_gets_both():
    vocabulary = ToyModel(["yes"]).vocabulary
    context = Context.of([[2]], vocabulary=vocabulary)
    after = LogitBias(bias={"yes": 1, 3: 2})(np.zeros((1, 4)), context)
    assert after.tolist() == [[0, 0, 0, 3]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_impossible_tokens_stay_impossible(dtype):
    after = LogitBias(bias={0: 100, 1: 1e308})(np.array([[-INF, 1.0]], dtype=dtype), NOWHERE)
    assert after.tolist() == [[-INF, min(1e308, float(np.finfo(dtype).max))]]
    assert after.dtype == dtype


def test_the_likeliest_stays_if_everything_is_removed():
    p = sampling_distribution(LogitBias(bias={0: -INF, 1: -INF}), [1.0, 2.0])
    assert p.tolist() == [0, 1]
