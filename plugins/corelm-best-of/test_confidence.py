"""Self-certainty and DeepConf's confidences: their definitions, as scores, as metrics."""

import math

import numpy as np
import pytest
from corelm_best_of import SCORERS, BestOf, Candidate, scorer_of
from corelm_confidence import (
    METRIC_WINDOW,
    group_means,
    lowest_mean,
    tail_mean,
    token_confidence,
    token_self_certainty,
)

import corelm
from corelm.testing import ToyModel, obeys_the_laws

INF = float("inf")
CONFIDENCES = ["mean_confidence", "tail_confidence", "group_confidence", "lowest_group_confidence"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_self_certainty_by_its_definition(dtype):
    """-1/V sum ln(V p_j), as the authors' code has it, over the tokens that can be drawn."""
    rows = np.random.default_rng(1).normal(0, 5, (20, 50)).astype(dtype)
    rows[:, :2] = -INF
    p = np.exp(rows[:, 2:].astype(float))
    p /= p.sum(axis=1, keepdims=True)
    expected = [-sum(math.log(48 * x) for x in row) / 48 for row in p]
    assert token_self_certainty(rows).tolist() == pytest.approx(expected, rel=1e-6)


def test_self_certainty_of_a_uniform_row_and_of_a_single_token():
    assert token_self_certainty(np.zeros((1, 7))) == pytest.approx(0, abs=1e-12)
    assert token_self_certainty(np.array([[-INF, 3.0]])) == pytest.approx(0)


@pytest.mark.parametrize("top", [1, 3, 20, 60])
def test_confidence_by_its_definition(top):
    """-1/k sum ln p_j over the k likeliest tokens."""
    rows = np.random.default_rng(2).normal(0, 3, (20, 50))
    rows[:, 40:] = -INF
    p = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    expected = [-np.mean(np.log(sorted(row[:40])[::-1][:top])) for row in p]
    assert token_confidence(rows, top).tolist() == pytest.approx(expected, rel=1e-12)


def test_means_of_groups():
    values = np.array([4.0, 1.0, 1.0, 6.0, 2.0])
    assert group_means(values, 2).tolist() == [2.5, 1.0, 3.5, 4.0]
    assert group_means(values, 9).tolist() == [2.8]
    assert (tail_mean(values, 2), tail_mean(values, 9)) == (4.0, pytest.approx(2.8))
    assert lowest_mean(values, 2) == 1.0  # one group at least


def test_the_lowest_tenth_of_the_groups():
    """As analysis_offline.py of the authors: int(n / 10) groups of n, one at least."""
    values = np.random.default_rng(3).gamma(2, 2, 61)
    means = [group_means(values[i : i + 20], 20)[0] for i in range(42)]
    assert group_means(values, 20).tolist() == means  # wherever a group is
    assert lowest_mean(values, 20) == pytest.approx(np.mean(sorted(means)[:4]), rel=1e-12)


def test_the_scores():
    certainty, confidence = np.array([1.0, 2.0, 6.0]), np.array([4.0, 1.0, 7.0])
    none = np.empty(3)
    text = Candidate("a", " b c d", np.array([1, 2, 3]), none, none, certainty, confidence)
    scores = {name: scorer_of(name, 2)(text) for name in SCORERS if "likelihood" not in name}
    assert scores == {
        "self_certainty": 3.0,
        "mean_confidence": 4.0,
        "tail_confidence": 4.0,
        "group_confidence": 2.5,
        "lowest_group_confidence": 2.5,
    }


@pytest.mark.parametrize("sampler", ["stochastic", "temperature(t=2)"])
@pytest.mark.parametrize("scorer", ["self_certainty", *CONFIDENCES])
def test_the_best_of_the_candidates_is_kept(scorer, sampler):
    """The scores are of the model's distributions, under any sampler."""
    model = ToyModel()
    options = {"sampler": sampler, "length": 6, "seed": 7}
    ordinary = corelm.generate(model, "the", n=12, **options)
    decoder = BestOf(candidates=4, scorer=scorer, window=3)
    kept = corelm.generate(model, "the", n=3, decoder=decoder, **options)
    score = scorer_of(scorer, 3)
    for i, text in enumerate(kept):
        candidates = ordinary[4 * i : 4 * i + 4]
        scores = [score(measured(model, each.tokens)) for each in candidates]
        assert text.tokens == candidates[int(np.argmax(scores))].tokens


def measured(model, tokens, prompt="the"):
    """A candidate whose figures come from the stateless model."""
    ids = model.vocabulary.encode(prompt)
    rows = []
    for i in range(len(tokens)):
        p = model.next_token_distribution(np.array([[*ids, *tokens[:i]]])).copy()
        for never in (model.vocabulary.unknown, model.vocabulary.padding):
            p[:, never] = 0
        with np.errstate(divide="ignore"):
            rows.append(np.log(p / p.sum()))
    rows = np.concatenate(rows)
    none = np.empty(0)
    return Candidate(
        "the", "", tokens, none, none, token_self_certainty(rows), token_confidence(rows)
    )


@obeys_the_laws(BestOf(scorer="group_confidence", window=2))
def test_law(decoder, law):
    law(decoder)


@pytest.fixture(scope="module")
def report():
    human = ["the cat sat on the mat", "the dog ran", "cat saw the dog", "and the mat"] * 3
    return corelm.compare(
        ToyModel(),
        ["temperature(t=0.3)", "temperature(t=3)"],
        prompts=["the", "a dog"],
        n=6,
        length=24,
        reference=human,
        metrics=METRICS,
        texts="all",
        seed=1,
    )


METRICS = ["self_certainty", "tail_confidence", "group_confidence"]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_the_mean_score_of_the_texts_behind_their_prompts(report, name):
    score, model = scorer_of(name, METRIC_WINDOW), ToyModel()
    for entry in report.to_dict()["samplers"]:
        texts = corelm_texts(model, entry["sampler"])
        assert {text.text for text in texts} == {each["text"] for each in entry["texts"]}
        ends = model.vocabulary.ends
        words = [[token for token in each.tokens if token not in ends] for each in texts]
        scores = [
            score(measured(model, own, each.prompt))
            for own, each in zip(words, texts, strict=True)
            if own
        ]
        results = entry["generated_texts"]
        assert results[f"corelm-best-of:{name}"] == pytest.approx(np.mean(scores), rel=1e-6)


def corelm_texts(model, sampler):
    options = {"sampler": sampler, "length": 24, "n": 6, "seed": 1}
    return [
        text
        for i, prompt in enumerate(["the", "a dog"])
        for text in corelm.generate(model, prompt, prompt_index=i, **options)
    ]


def test_human_text_has_the_metrics_too(report):
    human = report.to_dict()["reference"]["generated_texts"]
    assert all(human[f"corelm-best-of:{name}"] > 0 for name in METRICS)
