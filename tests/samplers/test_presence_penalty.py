"""The presence penalty: the same amount off every token that is there."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.presence_penalty import PresencePenalty

from corelm import Context
from corelm.stages import apply
from corelm.testing import obeys_the_laws

EXAMPLE = "presence_penalty(penalty=0.7)"

INF = float("inf")
LOGITS = np.array([[3.0, -2.0, 0.0, 1.0]])


@obeys_the_laws(
    *(PresencePenalty(penalty=p) for p in (-1e300, 0, 0.5, 1e300)),
    PresencePenalty(penalty=1, last=2),
)
def test_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], [3, -2, 0, 1]),
        ([1], [3, -2.5, 0, 1]),
        ([1, 1, 1], [3, -2.5, 0, 1]),
        ([0, 1, 3, 0], [2.5, -2.5, 0, 0.5]),
    ],
)
def test_each_token_that_is_there_loses_the_penalty_once(tokens, expected):
    context = Context.of(np.array([tokens], dtype=np.int64))
    assert PresencePenalty(penalty=0.5)(LOGITS, context).tolist() == [expected]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, [2, -3, 0, 0]),
        ({"last": 2}, [3, -3, 0, 0]),
        ({"skip_prompt": True}, [3, -2, 0, 0]),
    ],
)
def test_the_window_says_what_counts(window, expected):
    context = Context.of([[0, 1, 3]], prompt_length=2)
    assert PresencePenalty(penalty=1, **window)(LOGITS, context).tolist() == [expected]


def test_below_zero_it_rewards():
    after = PresencePenalty(penalty=-1)(LOGITS, Context.of([[0]]))
    assert after.tolist() == [[4.0, -2.0, 0.0, 1.0]]


def test_every_row_has_its_own_past():
    after = PresencePenalty(penalty=1)(np.repeat(LOGITS, 2, axis=0), Context.of([[0], [2]]))
    assert after.tolist() == [[2, -2, 0, 1], [3, -2, -1, 1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_impossible_tokens_stay_impossible_and_no_others_become_so(dtype):
    logits = np.array([[-INF, 0.0, 1.0]], dtype=dtype)
    after = PresencePenalty(penalty=1.7e308)(logits, Context.of([[0, 1]]))
    assert after[0].tolist() == [-INF, max(-1.7e308, float(np.finfo(dtype).min)), 1.0]
    assert after.dtype == dtype


def test_zero_changes_nothing():
    assert apply(PresencePenalty(), LOGITS, Context.of([[0, 1]])) is LOGITS
