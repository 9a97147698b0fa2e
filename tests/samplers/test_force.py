"""Force: chosen words at a chosen place, for any model."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from corelm_samplers.force import Force
from corelm_samplers.phase import Phase
from small_models import only_word

from corelm import Context, ParameterError, generate, sampler, sampling_distribution
from corelm.errors import UsageError
from corelm.testing import ToyModel

INF = float("inf")
MODEL = ToyModel("abc()")
VOCABULARY = MODEL.vocabulary
forced = partial(only_word, VOCABULARY)
A, B, C = VOCABULARY.encode("a b c")


@pytest.mark.parametrize(
    ("text", "word"),
    [("", None), ("c", None), ("c c", "a"), ("c c a", "b"), ("c c a b", None), ("c c c c c", None)],
)
def test_the_words_come_after_so_many_drawn_tokens(text, word):
    assert forced(Force(words=["a b"], at=2), text) == word
    assert forced(Force(words=["a", B], at=2), text, prompt="c c c") == word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a b", None),
        ("(", "a"),
        ("( a", "b"),
        ("( a b", None),
        ("( a b c (", "a"),  # at each appearance
        ("c ( c c", None),
    ],
)
def test_the_words_come_after_a_text(text, word):
    assert forced(Force(words=["a b"], since="("), text) == word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("(", None),
        ("( c c", "a"),
        ("( ( c", None),  # the last one counts
        ("( ( c c", "a"),
        ("( c ( c", None),
        ("( c c a", "("),
        ("( c c a (", None),  # that one is one of the words
        ("( c c a ( c c", None),
        ("( c c a ( ( c c", "a"),
    ],
)
def test_the_words_come_so_many_tokens_after_a_text(text, word):
    assert forced(Force(words=["a ("], at=2, since="("), text) == word


def test_the_text_may_be_in_the_prompt():
    assert forced(Force(words=["a"], since="(", at=1), "c", prompt="b (") == "a"


def test_each_row_has_its_place():
    context = Context.of([[A, 5], [5, A], [A, A]], vocabulary=VOCABULARY)
    logits = np.zeros((3, len(VOCABULARY)))
    kept = Force(words=[B], since="a")(logits, context) > -INF
    assert kept.sum(axis=-1).tolist() == [len(VOCABULARY), 1, len(VOCABULARY)]
    assert kept[1, B]


def test_the_logit_stays():
    assert Force(words=[1])(np.array([[3.0, 2.0]]), Context.of([[0]])).tolist() == [[-INF, 2.0]]


def test_an_impossible_word_leaves_the_most_likely_token():
    impossible = [1.0, 2.0, -INF]
    assert sampling_distribution(Force(words=[2]), impossible).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("force", "message"),
    [
        (Force(words=["x"]), "force: the vocabulary of this model does not have 'x'; leave it out"),
        (Force(words=[99]), "force: there is no token 99; the ids go from 0 to 7"),
    ],
)
def test_words_that_the_model_lacks(force, message):
    with pytest.raises(UsageError) as caught:
        generate(MODEL, "a", sampler=force, length=1)
    assert str(caught.value) == message


BUDGET = {"words": ["b )"], "at": 3, "since": "(", "unless": ")"}
"""At most three tokens in brackets, and two that close them."""


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("c c c c", None),
        ("( c c", None),
        ("( c c c", "b"),
        ("( ( c c", "b"),  # a bracket in brackets is one of the three tokens
        ("( c c c b", ")"),
        ("( c c c b )", None),
        ("( c ) c c c c", None),
        ("( c ) ( c c", None),
        ("( c ) ( c c c", "b"),
    ],
)
def test_a_text_makes_the_words_unnecessary(text, word):
    assert forced(Force(**BUDGET), text) == word
    assert forced(Phase("(", ")", inside=Force(**BUDGET)), text) == word


def test_unless_needs_since():
    with pytest.raises(ParameterError, match=r"^unless needs since, the text to count from$"):
        Force(words=["b"], unless=")")


@pytest.mark.parametrize(
    ("prompt", "text", "word"),
    [
        ("( c c", "c", "b"),  # the prompt counts
        ("( c c c", "", "b"),
        ("( c c c c c", "", "b"),  # it is over the budget already
        ("( c c c c c", "b", ")"),
        ("( c c c c c", "b )", None),
        ("( c c c c c )", "", None),
    ],
)
def test_a_prompt_over_the_budget_gets_all_words_at_once(prompt, text, word):
    assert forced(Force(**BUDGET), text, prompt) == word


def written(after):
    """Return what a model writes that knows one word after each, under the budget."""
    words = ["(", ")", "a", "b"]
    logits = np.full((6, 6), -9.0)
    for word, following in after.items():
        logits[2 + words.index(word), 2 + words.index(following)] = 9
    model = ToyModel(words, logits=logits, end=False)
    chain = Force(**BUDGET) | sampler("greedy")
    [text] = generate(model, "a (", sampler=chain, length=8)
    return text.text


def test_a_bracket_that_stays_open_for_too_long_is_closed():
    assert written({"(": "a", "a": "a", "b": "(", ")": "("}) == " a a a b ) ( a a"


def test_a_bracket_that_is_closed_in_time_is_left_alone():
    assert written({"(": "a", "a": ")", ")": "b", "b": "b"}) == " a ) b b b b b b"
