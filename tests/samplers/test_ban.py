"""Ban: chosen words are impossible; of several tokens, the last one is."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_samplers.ban import Ban

from corelm import Context, generate, sampling_distribution
from corelm.errors import UsageError
from corelm.testing import ToyModel

INF = float("inf")
LOGITS = np.array([[3.0, -2.0, 0.0, 1.0]])
NOWHERE = Context.of([[0]])
MODEL = ToyModel(["a", "b", "c"], end=False)  # ids 2, 3 and 4


def banned(words, tokens):
    """The ids that are impossible after these tokens."""
    context = Context.of(np.atleast_2d(np.array(tokens, int)), vocabulary=MODEL.vocabulary)
    after = Ban(words=words)(np.zeros((len(context.tokens), 5)), context)
    return [np.flatnonzero(row == -INF).tolist() for row in after]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([0], [-INF, -2, 0, 1]),
        ([0, 3], [-INF, -2, 0, -INF]),
        ([2, 2], [3, -2, -INF, 1]),
    ],
)
def test_banned_tokens_are_impossible(words, expected):
    assert Ban(words=words)(LOGITS, NOWHERE).tolist() == [expected]


@pytest.mark.parametrize(
    ("words", "tokens", "expected"),
    [
        ("b", [2], [[3]]),
        ("a,c", [2], [[2, 4]]),
        (["b", 4], [2], [[3, 4]]),
        # of several tokens the last is banned where the others are the end of the context
        (["a b"], [2], [[3]]),
        (["a b"], [4], [[]]),
        (["a b"], [], [[]]),
        (["a b c"], [2, 3], [[4]]),
        (["a b c"], [3], [[]]),
        (["a b c", "c"], [4, 3], [[4]]),
        (["b b"], [[2, 3], [3, 2]], [[3], []]),
    ],
)
def test_words_are_found_in_the_vocabulary(words, tokens, expected):
    assert banned(words, tokens) == expected


def test_a_text_without_the_banned_words():
    texts = generate(MODEL, "a", sampler=Ban(words=["a", "b b"]), length=30, n=3, seed=1)
    for text in texts:
        assert {2} & set(text.tokens) == set()
        assert "b b" not in text.text
        assert " b c" in text.text


def test_the_likeliest_stays_if_everything_is_banned():
    assert sampling_distribution(Ban(words=[0, 1]), [1.0, 2.0, -INF]).tolist() == [0, 1, 0]


def test_an_unknown_word_is_refused_by_name():
    with pytest.raises(UsageError) as caught:
        generate(MODEL, "a", sampler=Ban(words=["a", "d"]), length=1)
    assert str(caught.value) == (
        "ban: the vocabulary of this model does not have 'd'; leave it out"
    )
