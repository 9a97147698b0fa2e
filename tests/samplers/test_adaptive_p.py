"""Adaptive-p: tokens near a target probability, and the target moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corelm_samplers.adaptive_p import AdaptiveP

from corelm import Context, generate
from corelm.testing import ToyModel

INF = float("inf")
LOGITS = np.log([[0.6, 0.3, 0.1]])


def after(adaptive, drawn=(), prompt=0):
    """The new logits after drawn tokens of these probabilities under the model."""
    surprisal = [math.nan] * prompt + [-math.log(p) for p in drawn]
    context = Context.of(
        np.zeros((1, len(surprisal)), int),
        model_surprisal=np.array([surprisal]),
        prompt_length=prompt,
    )
    return adaptive(LOGITS, context)[0].tolist()


def aimed_at(probability):
    """The definition, with d = |p - a| / 0.3 for the p of 0.6, 0.3 and 0.1."""
    d = [abs(p - probability) / 0.3 for p in (0.6, 0.3, 0.1)]
    return pytest.approx([5 - 10 * x * x / (1 + x) for x in d], abs=1e-9)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # distances from the target in units of 0.3, and 5 - 10 d^2 / (1 + d)
        (0.3, [0, 5, 5 - 8 / 3]),  # d = 1, 0, 2/3
        (0.6, [5, 0, 5 - 10 * (25 / 9) / (8 / 3)]),  # d = 0, 1, 5/3
        (0.0, [5 - 40 / 3, 0, 5 - 10 * (1 / 9) / (4 / 3)]),  # d = 2, 1, 1/3
    ],
)
def test_at_first_it_aims_at_the_target(target, expected):
    assert after(AdaptiveP(target=target)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("drawn", "aim"),
    [
        # target 0.5, decay 0.5: the mean begins at 0.5, and each p makes it (mean + p) / 2
        ([0.5], 0.5),
        ([0.9], 0.3),  # mean 0.7, aim 2 * 0.5 - 0.7
        ([0.1], 0.7),  # mean 0.3
        ([0.9, 0.1], 0.6),  # mean 0.4: the last one counts most
        ([0.1, 0.9], 0.4),  # mean 0.6
    ],
)
def test_the_target_moves_against_what_was_drawn(drawn, aim):
    assert after(AdaptiveP(target=0.5, decay=0.5), drawn) == aimed_at(aim)


def test_the_moved_target_is_a_probability():
    assert after(AdaptiveP(target=0.3, decay=0), [1.0]) == aimed_at(0)  # 0.6 - 1
    assert after(AdaptiveP(target=0.9, decay=0), [0.1]) == aimed_at(1)  # 1.8 - 0.1


def test_given_tokens_do_not_move_it():
    assert after(AdaptiveP(target=0.5), prompt=4) == aimed_at(0.5)
    assert after(AdaptiveP(target=0.5, decay=0.5), [0.9], prompt=4) == aimed_at(0.3)


def test_every_row_has_its_own_target():
    context = Context.of([[0], [0]], prompt_length=0, model_surprisal=-np.log([[0.9], [0.1]]))
    rows = AdaptiveP(target=0.5, decay=0.5)(np.repeat(LOGITS, 2, axis=0), context)
    assert rows[0].tolist() == aimed_at(0.3)
    assert rows[1].tolist() == aimed_at(0.7)


def test_the_likeliest_is_not_always_preferred():
    logits = after(AdaptiveP(target=0.1))
    assert logits.index(max(logits)) == 2


@pytest.mark.slow
def test_the_mean_probability_comes_to_the_target():
    p = np.repeat([0.4, 0.25, 0.15, 0.1, 0.06, 0.04], 1)
    words = [f"w{i}" for i in range(len(p))]
    model = ToyModel(words, [-INF, -INF, *np.log(p)], end=False)
    for target in (0.15, 0.3):
        [text] = generate(model, "w0", sampler=AdaptiveP(target=target), length=400, seed=1)
        drawn = np.exp([-step.model_surprisal for step in text.steps])
        assert drawn.mean() == pytest.approx(target, abs=0.02)
