"""The repetition penalty: logits above 0 are divided, the others multiplied, once per token."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.repetition_penalty import RepetitionPenalty

from corelm import Context, sampling_distribution
from corelm.stages import apply
from corelm.testing import obeys_the_laws

EXAMPLE = "repetition_penalty(penalty=1.5)"

INF = float("inf")
LOGITS = np.array([[3.0, -2.0, 0.0, 1.0]])


@obeys_the_laws(
    *(RepetitionPenalty(penalty=p) for p in (1e-300, 1, 1.2, 1e300)),
    RepetitionPenalty(penalty=2, last=3, skip_prompt=True),
    RepetitionPenalty(penalty=1.2, normalised=True),
    RepetitionPenalty(penalty=1e300, normalised=True),
)
def test_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], [3, -2, 0, 1]),
        ([0], [1.5, -2, 0, 1]),
        ([1], [3, -4, 0, 1]),
        ([2], [3, -2, 0, 1]),
        ([0, 1, 2, 3], [1.5, -4, 0, 0.5]),
        ([0, 0, 0, 3, 0], [1.5, -2, 0, 0.5]),  # once, however often it is there
    ],
)
def test_each_token_that_is_there_is_penalised_once(tokens, expected):
    context = Context.of(np.array([tokens], dtype=np.int64))
    assert RepetitionPenalty(penalty=2)(LOGITS, context).tolist() == [expected]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, [1.5, -4, 0, 0.5]),
        ({"last": 1}, [3, -2, 0, 0.5]),
        ({"last": 2}, [3, -4, 0, 0.5]),
        ({"skip_prompt": True}, [3, -4, 0, 0.5]),
        ({"skip_prompt": True, "last": 1}, [3, -2, 0, 0.5]),
    ],
)
def test_the_window_says_what_counts(window, expected):
    context = Context.of([[0, 1, 3]], prompt_length=1)
    assert RepetitionPenalty(penalty=2, **window)(LOGITS, context).tolist() == [expected]


def test_below_one_it_rewards():
    after = RepetitionPenalty(penalty=0.5)(LOGITS, Context.of([[0, 1]]))
    assert after.tolist() == [[6.0, -1.0, 0.0, 1.0]]


def test_every_row_has_its_own_past():
    context = Context.of([[0, 0], [3, 1]])
    after = RepetitionPenalty(penalty=2)(np.repeat(LOGITS, 2, axis=0), context)
    assert after.tolist() == [[1.5, -2, 0, 1], [3, -4, 0, 0.5]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_impossible_tokens_stay_impossible_and_no_others_become_so(dtype):
    logits = np.array([[-INF, 1e30, -1e30, 0.0]], dtype=dtype)
    after = RepetitionPenalty(penalty=1e300)(logits, Context.of([[0, 1, 2, 3]]))
    assert after.dtype == dtype
    least = float(np.finfo(dtype).min)
    assert after.tolist() == [[-INF, 0.0 if dtype == np.float32 else 1e-270, least, 0.0]]


def test_normalised_it_multiplies_log_probabilities():
    """0.25 becomes 0.0625; 0.5 and 0.25 stay, and all are divided by 0.8125."""
    sampler = RepetitionPenalty(penalty=2, normalised=True)
    for constant in (0, 100):
        found = sampling_distribution(sampler, np.log([0.25, 0.5, 0.25]) + constant, tokens=[0, 0])
        assert found.tolist() == pytest.approx([1 / 13, 8 / 13, 4 / 13])
    assert sampler.is_shift_invariant
    assert not RepetitionPenalty().is_shift_invariant
    assert (sampler | RepetitionPenalty()).is_shift_invariant is False


def test_one_changes_nothing():
    assert apply(RepetitionPenalty(), LOGITS, Context.of([[0, 1]])) is LOGITS


def test_the_sign_of_the_raw_logits_decides():
    assert not RepetitionPenalty.is_shift_invariant
    p = sampling_distribution(RepetitionPenalty(penalty=2), [0.0, -2.0], [1])
    shifted = sampling_distribution(RepetitionPenalty(penalty=2), [2.0, 0.0], [1])
    assert p[1] == pytest.approx(1 / (1 + np.exp(4)))
    assert shifted[1] == pytest.approx(1 / (1 + np.exp(2)))
