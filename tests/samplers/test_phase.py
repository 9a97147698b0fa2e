"""Phase: one sampler between two marks of a text, another elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from corelm_samplers.phase import Phase
from corelm_samplers.temperature import Temperature

from corelm import Context, generate, hookimpl, sampler, sampling_distribution
from corelm.runs import Expression
from corelm.testing import ToyModel

INF = float("inf")
MODEL = ToyModel(["(", ")", "a", "b"], logits=[0, 0, 0, 0, 1, 0], end=False)
VOCABULARY = MODEL.vocabulary
OPEN, CLOSE = VOCABULARY.encode("( )")
BRACKETS = Phase("(", ")", inside="greedy")


def is_inside(text, phase=BRACKETS):
    context = Context.of(VOCABULARY.encode(text), vocabulary=VOCABULARY)
    after = phase(np.array([[0.0, 0, 0, 0, 1, 0]]), context)
    assert after.tolist() in ([[-INF, -INF, -INF, -INF, 0, -INF]], [[0, 0, 0, 0, 1, 0]])
    return bool(after[0, 0] == -INF)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("", False),
        ("a", False),
        ("a (", True),
        ("( a b", True),
        ("( ( a )", False),  # nested starts don't count
        (") a", False),
        ("( a ) a (", True),
    ],
)
def test_the_phase_is_after_the_start_and_before_the_end(text, inside):
    assert is_inside(text) is inside


def test_one_mark_begins_and_ends_a_phase():
    quoted = Phase("a", "a", inside="greedy")
    assert [is_inside(text, quoted) for text in ("a", "a b", "a b a", "a a a")] == [
        True, True, False, True
    ]  # fmt: skip


def test_each_row_has_its_phase():
    logits = np.log([[0.5, 0.25, 0.25]] * 3)
    thinking = Phase(start=0, end=1, inside="greedy", outside="temperature(t=0.5)")
    rows = sampling_distribution(thinking, logits, tokens=[[0, 2], [0, 1], [2, 2]])
    outside = [2 / 3, 1 / 6, 1 / 6]
    assert np.allclose(rows, [[1, 0, 0], outside, outside])


def test_the_prompt_may_begin_the_phase():
    [text] = generate(MODEL, "( a", sampler=BRACKETS, length=3, seed=1)
    assert text.text == " a a a"


def test_the_draws_follow_both_samplers():
    """Inside the brackets the odds of a are e : 1, outside e^2 : 1."""
    phase = Phase("(", ")", inside="temperature(t=1)", outside="temperature(t=0.5)")
    texts = generate(MODEL, "b", sampler=phase, length=200, n=20, seed=3)
    odds = {}
    for text in texts:
        inside = False
        for token in text.tokens:
            drawn = odds.setdefault(inside, [0, 0])
            drawn[token == VOCABULARY.encode("a")[0]] += 1
            inside = token == OPEN or (inside and token != CLOSE)
    for inside, weight in ((True, np.exp(1)), (False, np.exp(2))):
        others, a = odds[inside]
        share, n = weight / (weight + 3), a + others
        assert n > 100
        assert abs(a / n - share) < 4 * np.sqrt(share * (1 - share) / n)


def test_names_inside_a_preset_are_corelms_own_too(register):
    other = SimpleNamespace(corelm_samplers=hookimpl(lambda: {"greedy": Temperature}))
    register(other, "elsewhere")
    assert type(sampler("phase(inside=greedy)").inside).__name__ == "Greedy"
    assert type(Expression.built_in("phase(inside=greedy)").inside).__name__ == "Greedy"
