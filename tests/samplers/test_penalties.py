"""The penalties: less for each time that a token is there, once, or by a factor."""

from __future__ import annotations

import numpy as np
import pytest

from corelm import Context, sampler, sampling_distribution

INF = float("inf")
LOGITS = np.array([[3.0, -2.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("expression", "tokens", "expected"),
    [
        # the penalty times the count
        ("frequency_penalty(0.5)", [], [3, -2, 0, 1]),
        ("frequency_penalty(0.5)", [1], [3, -2.5, 0, 1]),
        ("frequency_penalty(0.5)", [1, 1, 1], [3, -3.5, 0, 1]),
        ("frequency_penalty(0.5)", [0, 1, 3, 0], [2, -2.5, 0, 0.5]),
        # once, however often it is there
        ("presence_penalty(0.5)", [], [3, -2, 0, 1]),
        ("presence_penalty(0.5)", [1], [3, -2.5, 0, 1]),
        ("presence_penalty(0.5)", [1, 1, 1], [3, -2.5, 0, 1]),
        ("presence_penalty(0.5)", [0, 1, 3, 0], [2.5, -2.5, 0, 0.5]),
        ("presence_penalty(-1)", [0], [4, -2, 0, 1]),
        # logits above 0 are divided, the others multiplied
        ("repetition_penalty(2)", [], [3, -2, 0, 1]),
        ("repetition_penalty(2)", [0], [1.5, -2, 0, 1]),
        ("repetition_penalty(2)", [1], [3, -4, 0, 1]),
        ("repetition_penalty(2)", [2], [3, -2, 0, 1]),
        ("repetition_penalty(2)", [0, 1, 2, 3], [1.5, -4, 0, 0.5]),
        ("repetition_penalty(2)", [0, 0, 0, 3, 0], [1.5, -2, 0, 0.5]),
        ("repetition_penalty(0.5)", [0, 1], [6, -1, 0, 1]),
    ],
)
def test_each_token_that_is_there_is_penalised(expression, tokens, expected):
    context = Context.of(np.array([tokens], dtype=np.int64))
    assert sampler(expression)(LOGITS, context).tolist() == [expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("frequency_penalty(1)", [1, -3, 0, 0]),
        ("frequency_penalty(1, last=3)", [2, -3, 0, 0]),
        ("frequency_penalty(1, skip_prompt=True)", [2, -2, 0, 0]),
        ("presence_penalty(1)", [2, -3, 0, 0]),
        ("presence_penalty(1, last=2)", [2, -2, 0, 0]),
        ("presence_penalty(1, last=1)", [3, -2, 0, 0]),
        ("presence_penalty(1, skip_prompt=True)", [2, -2, 0, 0]),
        ("repetition_penalty(2)", [1.5, -4, 0, 0.5]),
        ("repetition_penalty(2, last=1)", [3, -2, 0, 0.5]),
        ("repetition_penalty(2, last=2)", [1.5, -2, 0, 0.5]),
        ("repetition_penalty(2, skip_prompt=True)", [1.5, -2, 0, 0.5]),
        ("repetition_penalty(2, skip_prompt=True, last=1)", [3, -2, 0, 0.5]),
    ],
)
def test_the_window_says_what_counts(expression, expected):
    context = Context.of([[0, 1, 0, 3]], prompt_length=2)
    assert sampler(expression)(LOGITS, context).tolist() == [expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("frequency_penalty(1)", [[1, -2, 0, 1], [3, -3, 0, 0]]),
        ("presence_penalty(1)", [[2, -2, 0, 1], [3, -3, 0, 0]]),
        ("repetition_penalty(2)", [[1.5, -2, 0, 1], [3, -4, 0, 0.5]]),
    ],
)
def test_every_row_has_its_own_past(expression, expected):
    context = Context.of([[0, 0], [3, 1]])
    assert sampler(expression)(np.repeat(LOGITS, 2, axis=0), context).tolist() == expected


def test_of_a_large_vocabulary_the_other_logits_stay_as_they_are():
    logits = np.linspace(-5, 5, 256_000, dtype=np.float32)[None, :]
    after = sampler("frequency_penalty(2)")(logits, Context.of([[7, 255_999, 7]]))
    changed = np.flatnonzero(after != logits)
    assert changed.tolist() == [7, 255_999]
    assert after[0, 7] == pytest.approx(logits[0, 7] - 4)
    assert after[0, 255_999] == 3.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("expression", "tokens", "expected"),
    [
        ("frequency_penalty(1.7e308)", [0, 2, 2, 2], [-INF, 1e30, -INF, 0]),
        ("presence_penalty(1.7e308)", [0, 2], [-INF, 1e30, -1.7e308, 0]),
        ("repetition_penalty(1e300)", [0, 1, 2, 3], [-INF, 1e-270, -INF, 0]),
    ],
)
def test_impossible_tokens_stay_impossible_and_no_others_become_so(
    expression, tokens, expected, dtype
):
    after = sampler(expression)(np.array([[-INF, 1e30, -1e30, 0]], dtype), Context.of([tokens]))
    least = np.finfo(dtype).min
    assert after.dtype == dtype
    possible = np.maximum(np.array(expected[1:]), least).astype(dtype)
    assert after[0].tolist() == [-INF, *possible.tolist()]


def test_normalised_the_repetition_penalty_multiplies_log_probabilities():
    """0.25 becomes 0.0625; 0.5 and 0.25 stay, and all are divided by 0.8125."""
    normalised, plain = (
        sampler("repetition_penalty(2, normalised=True)"),
        sampler("repetition_penalty(2)"),
    )
    for constant in (0, 100):
        p = sampling_distribution(normalised, np.log([0.25, 0.5, 0.25]) + constant, tokens=[0, 0])
        assert p.tolist() == pytest.approx([1 / 13, 8 / 13, 4 / 13])
    assert normalised.is_shift_invariant
    assert not plain.is_shift_invariant
    assert not (normalised | plain).is_shift_invariant


def test_the_sign_of_the_raw_logits_decides_what_the_repetition_penalty_does():
    p = sampling_distribution(sampler("repetition_penalty(2)"), [0.0, -2.0], [1])
    shifted = sampling_distribution(sampler("repetition_penalty(2)"), [2.0, 0.0], [1])
    assert p[1] == pytest.approx(1 / (1 + np.exp(4)))
    assert shifted[1] == pytest.approx(1 / (1 + np.exp(2)))
