"""The surprisal of given texts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_models import SMALL, small_model

import corelm
from corelm.questions.scoring import ScoredText, ScoredToken, score
from corelm.testing import ToyModel


@pytest.mark.parametrize("model", [ToyModel(), ToyModel(end=False)], ids=["start", "no start"])
def test_each_token_has_the_surprisal_and_entropy_of_its_distribution(model):
    texts = [("", "the cat sat on the mat"), ("the dog", " sat"), ("", "the mat"), ("the", "")]
    for (prompt, text), scored in zip(texts, score(model, texts), strict=True):
        assert "".join(token.text for token in scored.tokens) == text
        before = prompt
        for token in scored.tokens:
            if not before and model.vocabulary.start is None:
                assert math.isnan(token.surprisal)
                assert token.rank is None
            else:
                [stage] = corelm.explain(model, before, "stochastic").stages[:1]
                p = stage.distribution[token.token]
                assert token.surprisal == pytest.approx(-math.log(p))
                assert token.entropy == pytest.approx(stage.entropy)
                assert token.rank == 1 + (stage.distribution > p).sum()
            before += token.text


def test_texts_of_different_lengths_have_their_scores_alone():
    """To the last bit, also beyond the context of 8."""
    model = small_model(SMALL["default"], end=True)
    decode = model.vocabulary.decode
    texts = [("", decode([5, 6, 7])), (decode([8, 9]), decode([4] * 15)), ("", decode([9]))]
    together = score(model, texts)
    for pair, scored in zip(texts, together, strict=True):
        [alone] = score(model, [pair])
        assert [token.surprisal for token in alone.tokens] == [
            token.surprisal for token in scored.tokens
        ]


def test_words_go_from_space_to_space():
    nats = [1.0, 2.0, 4.0, 8.0, 16.0]
    pieces = ["un", "like", " it", "?", "\n"]
    tokens = (ScoredToken(0, *pair) for pair in zip(pieces, nats, strict=True))
    words = ScoredText("", "", tuple(tokens)).words
    assert [(word.text, word.surprisal) for word in words] == [
        ("unlike", 3.0), (" it?", 12.0), ("\n", 16.0),
    ]  # fmt: skip


def test_an_unknown_word_has_no_surprisal_unless_it_is_allowed():
    model = corelm.load("imdb")
    text = [("", "This flibbertigibbet movie")]
    [refused], [allowed] = (score(model, text, unknown) for unknown in (False, True))
    assert [math.isnan(token.surprisal) for token in refused.tokens] == [False, True, False]
    assert len(refused.scored) == 2
    assert len(allowed.scored) == 3
    assert refused.perplexity == pytest.approx(math.exp(refused.surprisal / 2))


def test_a_text_without_tokens_has_no_mean():
    [empty] = score(ToyModel(), [("the", "")])
    assert (empty.tokens, empty.words, empty.surprisal) == ((), [], 0.0)
    assert math.isnan(empty.mean)
    assert math.isnan(empty.perplexity)


def test_repetition_is_that_of_reports():
    figures = pytest.importorskip("corelm_stats.text_figures")
    rng = np.random.default_rng(0)
    texts = [rng.integers(3, 5, n).tolist() for n in (0, 3, 4, 9, 40)]
    expected = figures.by_text(texts)
    scored = [ScoredText("", "", tuple(ScoredToken(i, "") for i in text)) for text in texts]
    np.testing.assert_allclose([each.rep_4 for each in scored], expected["rep_4"])
    assert [each.is_loop for each in scored] == expected["loops"].tolist()
