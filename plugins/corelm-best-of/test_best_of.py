"""Best of n and minimum Bayes risk: which text is kept, by hand and by the definition."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from corelm_best_of import BestOf, Candidate
from corelm_mbr import Mbr, ngram_f

import corelm
from corelm import CorelmError, ParameterError
from corelm.testing import ToyModel, obeys_the_laws


def texts(n=1, decoder=None, sampler="stochastic", length=6):
    return corelm.generate(
        ToyModel(), "the", sampler=sampler, length=length, n=n, seed=7, decoder=decoder
    )


def mean_log_p(text):
    return -np.mean([step.model_surprisal for step in text.steps])


def total_log_p(text):
    return -np.sum([step.model_surprisal for step in text.steps])


@pytest.mark.parametrize("sampler", ["stochastic", "temperature(t=2)", "mirostat(tau=2)"])
@pytest.mark.parametrize(
    ("scorer", "score"), [("likelihood", mean_log_p), ("total_likelihood", total_log_p)]
)
def test_the_best_of_the_candidates_is_kept(scorer, score, sampler):
    ordinary = texts(n=12, sampler=sampler)
    kept = texts(n=3, sampler=sampler, decoder=BestOf(candidates=4, scorer=scorer))
    for i, text in enumerate(kept):
        best = max(ordinary[4 * i : 4 * i + 4], key=score)
        assert (text.tokens, text.steps, text.sample) == (best.tokens, best.steps, i)
    assert len({tuple(text.tokens) for text in kept}) == 3


@pytest.fixture
def seen(monkeypatch):
    """A module of scorers and metrics; the candidates that its `longest` has seen."""
    seen = []
    functions = {
        "longest": lambda candidate: seen.append(candidate) or len(candidate.text),
        "same_length": lambda text, other: -abs(len(text.tokens) - len(other.tokens)),
        "nothing": lambda *candidates: None,
        "nan": lambda candidate: float("nan"),
        "number": 3,
    }
    monkeypatch.setitem(sys.modules, "my_functions", SimpleNamespace(**functions))
    return seen


def test_a_custom_scorer(seen):
    ordinary = texts(n=8)
    [kept] = texts(decoder=BestOf(candidates=8, scorer="my_functions:longest"))
    assert kept.text == max((text.text for text in ordinary), key=len)
    assert [candidate.text for candidate in seen] == [text.text for text in ordinary]
    assert {candidate.prompt for candidate in seen} == {"the"}
    for candidate, text in zip(seen, ordinary, strict=True):
        assert candidate.tokens.tolist() == text.tokens
        assert candidate.surprisal.tolist() == [step.surprisal for step in text.steps]
        assert candidate.model_surprisal.tolist() == [step.model_surprisal for step in text.steps]


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize(
    ("scorer", "error", "reason"),
    [
        ("best", ParameterError, "scorer must be .* or MODULE:FUNCTION, not 'best'"),
        ("no_such_module:f", ParameterError, "cannot be imported: ModuleNotFoundError"),
        ("my_functions:absent", ParameterError, "cannot be imported: AttributeError"),
        ("my_functions:number", ParameterError, "'my_functions:number' is not a function"),
        ("a b:c", ParameterError, "cannot be imported"),
        ("my_functions:nothing", CorelmError, "returned None for a text, not a number"),
        ("my_functions:nan", CorelmError, "returned nan for a text, not a number"),
    ],
)
def test_an_invalid_scorer_is_refused(scorer, error, reason):
    with pytest.raises(error, match=reason):
        texts(decoder=BestOf(scorer=scorer))


@obeys_the_laws(BestOf(candidates=1), BestOf(scorer="total_likelihood"), Mbr(), Mbr(candidates=1))
def test_law(decoder, law):
    law(decoder)


# Minimum Bayes risk


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


@pytest.mark.usefixtures("seen")
def test_a_custom_metric():
    lengths = [len(text.tokens) for text in texts(n=9)]
    [kept] = texts(decoder=Mbr(candidates=9, metric="my_functions:same_length"))
    loss = [sum(abs(a - b) for b in lengths) for a in lengths]
    assert len(set(lengths)) > 2
    assert kept.tokens == texts(n=9)[int(np.argmin(loss))].tokens


@pytest.mark.usefixtures("seen")
def test_an_invalid_metric_is_refused():
    with pytest.raises(ParameterError, match="metric must be ngram_f or MODULE:FUNCTION"):
        Mbr(metric="bleu")
    with pytest.raises(CorelmError, match="the metric my_functions:nothing returned None"):
        texts(decoder=Mbr(metric="my_functions:nothing"))
