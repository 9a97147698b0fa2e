"""Minimum Bayes risk: which text is kept, by hand and by the definition."""

import sys

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


@pytest.fixture
def my_metrics(tmp_path, monkeypatch):
    """A module of metrics, importable."""
    (tmp_path / "my_metrics.py").write_text(
        "def same_length(text, other):\n    return -abs(len(text.tokens) - len(other.tokens))\n"
        "def nothing(text, other):\n    return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_metrics", None)


@pytest.mark.usefixtures("my_metrics")
def test_a_custom_metric():
    lengths = [len(text.tokens) for text in texts(n=9)]
    [kept] = texts(decoder=Mbr(candidates=9, metric="my_metrics:same_length"))
    loss = [sum(abs(a - b) for b in lengths) for a in lengths]
    assert len(set(lengths)) > 2
    assert kept.tokens == texts(n=9)[int(np.argmin(loss))].tokens


@pytest.mark.usefixtures("my_metrics")
@pytest.mark.parametrize(
    ("metric", "error", "reason"),
    [
        ("bleu", ParameterError, "metric must be ngram_f or MODULE:FUNCTION, not 'bleu'"),
        ("my_metrics:absent", ParameterError, "cannot be imported: AttributeError"),
        ("my_metrics:nothing", CorelmError, "the metric my_metrics:nothing returned None"),
    ],
)
def test_an_invalid_metric_is_refused(metric, error, reason):
    with pytest.raises(error, match=reason):
        texts(decoder=Mbr(metric=metric))
