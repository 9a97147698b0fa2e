"""Minimum Bayes risk: which text is kept, by hand and by the definition."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from corelm_best_of import Candidate
from corelm_mbr import Mbr, ngram_f

import corelm
from corelm import CorelmError, ParameterError
from corelm.testing import ToyModel, obeys_the_laws


@obeys_the_laws(Mbr(), Mbr(candidates=1))
def test_law(decoder, law):
    law(decoder)


def candidate(letters):
    tokens = np.array([ord(letter) for letter in letters])
    return Candidate("", letters, tokens, np.ones(len(tokens)), np.ones(len(tokens)))


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("abc", "abd", (4 / 6 + 2 / 4 + 0) / 3),
        ("abcd", "abcd", 1.0),
        ("abcd", "efgh", 0.0),
        ("a", "a", 1.0),
        ("aab", "ab", (4 / 5 + 2 / 3 + 0) / 3),  # the a counts once, and so does ab
        ("aaaa", "a", (2 / 5 + 0 + 0 + 0) / 4),
    ],
)
def test_the_f_score_of_ngrams(text, reference, expected):
    assert ngram_f(candidate(text), candidate(reference)) == pytest.approx(expected)
    assert ngram_f(candidate(reference), candidate(text)) == pytest.approx(expected)


def test_the_text_most_like_the_others_by_hand():
    """abcd and abce share more with each other and with abxy than wxyz does with any."""
    texts = [candidate(letters) for letters in ("wxyz", "abxy", "abcd", "abce")]
    # wxyz: with abxy (1/2 + 1/3) / 4 = 0.2083, mean 0.0694
    # abxy: 0.2083 with wxyz, (1/2 + 1/3) / 4 with each of the others: mean 0.2083
    # abcd: (3/4 + 2/3 + 1/2) / 4 = 0.4792 with abce, 0.2083 with abxy: mean 0.2292
    assert Mbr().choose(texts) == 2  # the first of two that are equal
    assert Mbr().choose(texts[:2]) == 0


def texts(n=1, decoder=None, length=6):
    return corelm.generate(
        ToyModel(), "the", sampler="stochastic", length=length, n=n, seed=7, decoder=decoder
    )


@pytest.fixture(autouse=True)
def my_metrics(monkeypatch):
    """A module of metrics."""
    functions = {
        "same_length": lambda text, other: -abs(len(text.tokens) - len(other.tokens)),
        "nothing": lambda text, other: None,
    }
    monkeypatch.setitem(sys.modules, "my_metrics", SimpleNamespace(**functions))


def test_a_custom_metric():
    lengths = [len(text.tokens) for text in texts(n=9)]
    [kept] = texts(decoder=Mbr(candidates=9, metric="my_metrics:same_length"))
    loss = [sum(abs(a - b) for b in lengths) for a in lengths]
    assert len(set(lengths)) > 2
    assert kept.tokens == texts(n=9)[int(np.argmin(loss))].tokens


def test_an_invalid_metric_is_refused():
    with pytest.raises(ParameterError, match="metric must be ngram_f or MODULE:FUNCTION"):
        Mbr(metric="bleu")
    with pytest.raises(CorelmError, match="the metric my_metrics:nothing returned None"):
        texts(decoder=Mbr(metric="my_metrics:nothing"))
