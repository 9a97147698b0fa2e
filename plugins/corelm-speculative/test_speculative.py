"""Speculative decoding: the text of ordinary decoding, under every sampler."""

import logging

import corelm_speculative
import numpy as np
import pytest
from corelm_speculative import Speculative
from small_models import only_forward

import corelm
from corelm import ParameterError
from corelm.testing import ToyModel, obeys_the_laws

SAMPLERS = [
    "greedy",
    "temperature(t=0.3)",
    "stochastic",
    "uniform",
    "top_p(p=0.7)",
    "xtc(probability=0.5)",
    "mirostat(tau=3)",
    "adaptive_p(target=0.4)",
    "repetition_penalty(penalty=1.3)",
    "dry(multiplier=1) | temperature(t=0.5)",
    "no_repeat_ngram(n=3) | min_length(n=8)",
]
WORDS = ["a", "b", "c", "d"]


def toy(seed, spread=1.5, end=True):
    """A model of four words, each of which is followed by some more often than by others."""
    size = len(WORDS) + 2 + end
    return ToyModel(WORDS, np.random.default_rng(seed).normal(size=(size, size)) * spread, end=end)


@pytest.fixture
def drafts(monkeypatch):
    """Models that can be chosen as a draft, by name."""
    models = {}
    monkeypatch.setattr(corelm_speculative, "load", models.__getitem__)
    return models


def texts(model, decoder=None, prompt="a b", sampler="stochastic", length=40, n=3, seed=2):
    return corelm.generate(
        model, prompt, sampler=sampler, length=length, n=n, seed=seed, decoder=decoder
    )


def assert_the_same(model, decoder, **options):
    """The same texts, and the same surprisals and entropies of every token, to the last bit."""
    ordinary, speculative = texts(model, **options), texts(model, decoder, **options)
    assert [t.tokens for t in speculative] == [t.tokens for t in ordinary]
    assert [t.steps for t in speculative] == [t.steps for t in ordinary]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("draft", ["lookup", "itself", "similar", "another"])
def test_the_text_is_that_of_ancestral_sampling(sampler, draft, drafts):
    model = toy(0)
    drafts |= {"itself": model, "similar": toy(0, spread=1.2), "another": toy(1)}
    assert_the_same(model, Speculative(draft=draft), sampler=sampler)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["greedy", "stochastic", "mirostat", "dry(multiplier=1)"])
@pytest.mark.parametrize("draft", ["lookup", "imdb"])
def test_past_the_context_of_the_shipped_model_too(sampler, draft):
    model = corelm.load("imdb")
    assert model.context_length < 130
    decoder = Speculative(draft=draft, guesses=7)
    assert_the_same(model, decoder, prompt="This movie", sampler=sampler, length=130, n=1)


@pytest.mark.parametrize("guesses", [1, 2, 100])
@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("prompt", ["", "a", "a b a b a b"])
def test_at_the_edges(guesses, length, prompt, drafts):
    drafts["itself"] = model = toy(3)
    for draft in ("lookup", "itself"):
        decoder = Speculative(draft=draft, guesses=guesses)
        assert_the_same(model, decoder, prompt=prompt, length=length)


# The guesses of a draft


def circle():
    """A model that goes round: a b c d a b c d, surely."""
    logits = np.full((6, 6), -np.inf)
    logits[:, 2] = 0.0
    logits[[2, 3, 4, 5]] = -np.inf
    logits[[2, 3, 4, 5], [3, 4, 5, 2]] = 0.0
    return ToyModel(WORDS, logits, end=False)


def report(caplog, model, decoder, **options):
    with caplog.at_level(logging.INFO, "corelm"):
        texts(model, decoder, **options)
    [line] = [r.getMessage() for r in caplog.records if r.name == "corelm.speculative"]
    return line


def test_a_model_that_is_its_own_draft_is_always_right(caplog, drafts):
    drafts["itself"] = model = toy(0, end=False)
    line = report(caplog, model, Speculative(draft="itself"), length=20, n=1)
    # 20 tokens in four readings of four guesses and the token after them
    assert line.startswith(
        "speculative: 20 tokens from 4 passes of the model; 16 of 16 guesses were right (100 %); "
    )
    assert line.endswith(" tokens per second")


def test_a_draft_that_is_never_right(caplog, drafts):
    drafts["never"] = ToyModel(WORDS, [0, 0, 9, 0, 0, 0], end=False)
    model = ToyModel(WORDS, [0, 0, 0, 9, 0, 0], end=False)
    line = report(caplog, model, Speculative(draft="never"), sampler="greedy", length=10, n=1)
    # four guesses each time, but no more than could still be drawn: 6 x 4 + 3 + 2 + 1 + 0
    assert "10 tokens from 10 passes of the model; 0 of 30 guesses were right (0 %)" in line


def test_the_text_itself_is_a_good_draft_where_it_repeats(caplog):
    line = report(caplog, circle(), Speculative(guesses=3), prompt="a b c d a", length=12, n=1)
    assert "12 tokens from 3 passes of the model; 9 of 9 guesses were right (100 %)" in line


def test_the_model_reads_as_often_as_is_reported(caplog, monkeypatch):
    model, sizes = circle(), []
    start = model.start

    def watched(tokens):
        session = start(tokens)
        ask = session.last_logits
        session.last_logits = lambda count: sizes.append(count) or ask(count)
        return session

    monkeypatch.setattr(model, "start", watched)
    texts(model, Speculative(guesses=3), prompt="a b c d a", length=10, n=1)
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize(
    ("tokens", "ngram", "count", "expected"),
    [
        ([1, 2, 3, 4, 5, 2, 3], 3, 2, [4, 5]),  # after 2 3
        ([1, 2, 3, 9, 2, 4, 1, 2], 3, 2, [3, 9]),  # the longer run counts: 1 2, not 2 alone
        ([1, 2, 3, 9, 2, 4, 1, 2], 1, 2, [4, 1]),  # 2 alone: the last place
        ([2, 5, 6, 7, 2, 8, 2], 1, 3, [5, 6, 7]),  # the last place with three tokens behind it
        ([2, 5, 2], 3, 3, [5, 2]),  # no place has three: the first
        ([1, 1], 3, 4, [1]),
        ([1, 2, 3], 3, 4, []),
        ([1], 3, 4, []),
        ([], 3, 4, []),
    ],
)
def test_the_continuations_of_the_last_ngram(tokens, ngram, count, expected):
    ids = np.array(tokens, dtype=np.int64)
    assert corelm_speculative._look_up(ids, ngram, count) == expected


# Errors


def test_a_draft_with_another_vocabulary(drafts):
    drafts["other"] = ToyModel(["a", "b", "c", "e"])
    with pytest.raises(ParameterError, match="draft must be a model with the same vocabulary"):
        texts(toy(0), Speculative(draft="other"))


def test_a_model_that_cannot_go_back():
    with pytest.raises(ParameterError, match="this model cannot drop tokens that it has read"):
        texts(only_forward(ToyModel()), Speculative())


@obeys_the_laws(Speculative(), Speculative(guesses=1, ngram=1))
def test_law(decoder, law):
    law(decoder)
