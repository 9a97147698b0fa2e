"""The frequency penalty: an amount for each time that a token is there."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.frequency_penalty import FrequencyPenalty

from corelm import Context
from corelm.stages import apply
from corelm.testing import obeys_the_laws

EXAMPLE = "frequency_penalty(penalty=0.7)"

INF = float("inf")
LOGITS = np.array([[3.0, -2.0, 0.0, 1.0]])


@obeys_the_laws(
    *(FrequencyPenalty(penalty=p) for p in (-1.7e308, 0, 0.5, 1.7e308)),
    FrequencyPenalty(penalty=1, last=2),
)
def test_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], [3, -2, 0, 1]),
        ([1], [3, -2.5, 0, 1]),
        ([1, 1, 1], [3, -3.5, 0, 1]),
        ([0, 1, 3, 0], [2, -2.5, 0, 0.5]),
    ],
)
def test_each_token_loses_the_penalty_times_its_count(tokens, expected):
    context = Context.of(np.array([tokens], dtype=np.int64))
    assert FrequencyPenalty(penalty=0.5)(LOGITS, context).tolist() == [expected]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, [1, -3, 0, 1]),
        ({"last": 2}, [2, -3, 0, 1]),
        ({"skip_prompt": True}, [2, -2, 0, 1]),
    ],
)
def test_the_window_says_what_counts(window, expected):
    context = Context.of([[0, 1, 0]], prompt_length=2)
    assert FrequencyPenalty(penalty=1, **window)(LOGITS, context).tolist() == [expected]


def test_every_row_has_its_own_past():
    context = Context.of([[0, 0], [2, 3]])
    after = FrequencyPenalty(penalty=1)(np.repeat(LOGITS, 2, axis=0), context)
    assert after.tolist() == [[1, -2, 0, 1], [3, -2, -1, 0]]


def test_of_a_large_vocabulary_the_other_logits_stay_as_they_are():
    logits = np.linspace(-5, 5, 256_000, dtype=np.float32)[None, :]
    after = FrequencyPenalty(penalty=2)(logits, Context.of([[7, 255_999, 7]]))
    changed = np.flatnonzero(after != logits)
    assert changed.tolist() == [7, 255_999]
    assert after[0, 7] == pytest.approx(logits[0, 7] - 4)
    assert after[0, 255_999] == 3.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_impossible_tokens_stay_impossible_and_no_others_become_so(dtype):
    logits = np.array([[-INF, 0.0, 1.0]], dtype=dtype)
    after = FrequencyPenalty(penalty=1.7e308)(logits, Context.of([[0, 1, 1, 1]]))
    assert after[0].tolist() == [-INF, float(np.finfo(dtype).min), 1.0]


def test_zero_changes_nothing():
    assert apply(FrequencyPenalty(), LOGITS, Context.of([[0, 1]])) is LOGITS
