"""Best of n: which text is kept."""

import sys
from types import SimpleNamespace

import corelm_best_of
import numpy as np
import pytest
from corelm_best_of import BestOf, likelihood, total_likelihood

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


def test_one_candidate_is_ordinary_decoding():
    kept = texts(n=5, decoder=BestOf(candidates=1))
    assert [text.tokens for text in kept] == [text.tokens for text in texts(n=5)]


def test_the_scores():
    nats = np.array([1.0, 2.0, 6.0])
    candidate = corelm_best_of.Candidate("a", " b c d", np.array([1, 2, 3]), nats / 2, nats)
    assert likelihood(candidate) == -3.0
    assert total_likelihood(candidate) == -9.0


@pytest.fixture
def seen(monkeypatch):
    """The candidates that the scorer `longest` of a module has seen."""
    seen = []
    functions = {
        "longest": lambda candidate: seen.append(candidate) or len(candidate.text),
        "nothing": lambda candidate: None,
        "nan": lambda candidate: float("nan"),
        "number": 3,
    }
    monkeypatch.setitem(sys.modules, "my_scorers", SimpleNamespace(**functions))
    return seen


def test_a_custom_scorer(seen):
    ordinary = texts(n=8)
    [kept] = texts(decoder=BestOf(candidates=8, scorer="my_scorers:longest"))
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
        ("my_scorers:absent", ParameterError, "cannot be imported: AttributeError"),
        ("my_scorers:number", ParameterError, "'my_scorers:number' is not a function"),
        ("a b:c", ParameterError, "cannot be imported"),
        ("my_scorers:nothing", CorelmError, "returned None for a text, not a number"),
        ("my_scorers:nan", CorelmError, "returned nan for a text, not a number"),
    ],
)
def test_an_invalid_scorer_is_refused(scorer, error, reason):
    with pytest.raises(error, match=reason):
        texts(decoder=BestOf(scorer=scorer))


@obeys_the_laws(BestOf(candidates=1), BestOf(scorer="total_likelihood"))
def test_law(decoder, law):
    law(decoder)
