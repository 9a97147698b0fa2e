"""Voting: which answer wins, and which of its texts is kept."""

from collections import Counter

import corelm_answers
import numpy as np
import pytest
from corelm_answers import NUMBER, find_answer
from corelm_vote import Vote

import corelm
from corelm import CorelmError, ParameterError
from corelm.errors import UsageError
from corelm.testing import ToyModel, obeys_the_laws

ANSWERS = ["a", "b", "b", None, "c", "a", "b"]
SCORES = np.array([9.0, 1.0, 2.0, 99.0, 3.0, 8.0, 2.5])


@obeys_the_laws(Vote(), Vote(candidates=3, pattern="cat|dog", votes="rank", keep=0.5))
def test_law(decoder, law):
    law(decoder)


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        (NUMBER, "", None),
        (NUMBER, "no number", None),
        (NUMBER, "1 + 2 = 3", "3"),
        (NUMBER, "about -1,234.5.", "-1,234.5"),
        (r"\\boxed\{(.*?)\}", r"so \boxed{12}, not \boxed{13}.", "13"),
        (r"(yes)|no", "yes or no", None),  # the first group of the last match
    ],
)
def test_the_answer_of_a_text(pattern, text, answer):
    results = find_answer(pattern, text)
    assert (None if results is None else results[0]) == answer
    assert results is None or text[results[1] : results[2]] == answer


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, 6),  # b has three votes; 2.5 is its highest score
        ({"votes": "score"}, 0),  # a: 17, b: 5.5, c: 3
        ({"votes": "rank", "power": 0}, 6),  # as many as equal votes
        ({"votes": "rank", "power": 1}, 0),  # of seven: a 6 + 5, b 1 + 2 + 3, c 4
        ({"votes": "rank", "power": 0.1}, 6),
        ({"keep": 0.5}, 0),  # three of six vote: a, a, c
        ({"keep": 1e-9}, 0),  # the surest one
    ],
)
def test_the_winning_answer(settings, kept):
    assert Vote(**settings).elect(ANSWERS, SCORES) == kept


def test_the_share_that_votes_is_of_the_texts_with_an_answer():
    """Half of four, the sure texts without an answer left out: a alone wins."""
    answers, scores = ["b", None, "a", "b", None, "a"], [1.0, 9.0, 4.0, 2.0, 8.0, 3.0]
    assert Vote(keep=0.5).elect(answers, np.array(scores)) == 2
    [keep] = [each for each in Vote.parameters() if each.name == "keep"]
    assert "share of the texts with an answer" in keep.rule.help
    few = ["b", None, None, "b", None, "a"]  # of three answers two vote, and the first wins a tie
    assert Vote(keep=0.5).elect(few, np.array(scores)) == 3


def test_votes_by_their_definitions():
    """Against plain code, for random answers and scores: ties go to the first."""
    rng = np.random.default_rng(4)
    for _ in range(300):
        answers = [rng.choice(["a", "b", "c", None]) for _ in range(9)]
        scores = rng.integers(1, 6, 9).astype(float)
        order = sorted(range(9), key=lambda i: -scores[i])
        votes = {
            "equal": [1.0] * 9,
            "score": scores,
            "rank": [(9 - order.index(i)) ** 0.5 for i in range(9)],
        }
        for name, weights in votes.items():
            total = Counter()
            for answer, weight in zip(answers, weights, strict=True):
                if answer is not None:
                    total[answer] += float(weight)
            kept = Vote(votes=name).elect(answers, scores)
            if total:
                assert total[answers[kept]] == pytest.approx(max(total.values()))
                alike = [scores[i] for i in range(9) if answers[i] == answers[kept]]
                assert scores[kept] == max(alike)
            else:
                assert kept == int(np.argmax(scores))


def test_without_an_answer_the_score_decides():
    assert Vote().elect([None, None, None], np.array([1.0, 3.0, 2.0])) == 1


def test_a_text_of_the_majority_is_kept():
    model, options = ToyModel(), {"sampler": "stochastic", "length": 5, "seed": 3}
    ordinary = corelm.generate(model, "the", n=27, **options)
    kept = corelm.generate(
        model, "the", n=3, decoder=Vote(candidates=9, pattern="cat|dog|mat"), **options
    )
    for i, text in enumerate(kept):
        texts = ordinary[9 * i : 9 * i + 9]
        results = [find_answer("cat|dog|mat", each.text) for each in texts]
        counts = Counter(answer[0] for answer in results if answer)
        assert text.tokens in [each.tokens for each in texts]
        assert counts[find_answer("cat|dog|mat", text.text)[0]] == max(counts.values())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"pattern": "("}, UsageError, "the pattern '\\(' is not valid"),
        ({"pattern": "a*"}, UsageError, "matches the empty text"),
        ({"votes": "all"}, ParameterError, "votes must be"),
        ({"keep": 0}, ParameterError, "keep must be above 0 and at most 1, not 0.0"),
        ({"scorer": "best"}, ParameterError, "scorer must be .* or MODULE:FUNCTION, not 'best'"),
        ({"scorer": "likelihood", "votes": "score"}, ParameterError, "take votes='rank'"),
    ],
)
def test_values_that_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Vote(**settings)


def test_a_negative_score_is_no_vote():
    with pytest.raises(CorelmError, match="is negative, so it cannot be a vote"):
        Vote(votes="score").elect(["a"], np.array([-1.0]))


def test_a_pattern_that_takes_exponential_time_is_stopped(monkeypatch):
    monkeypatch.setattr(corelm_answers, "TIMEOUT", 0.05)
    with pytest.raises(UsageError, match=r"takes more than 0.05 second on a text of 41 characters"):
        find_answer("(a|aa)+$", "a" * 40 + "b")
