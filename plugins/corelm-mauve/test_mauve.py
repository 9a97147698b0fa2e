"""MAUVE: numbers of the reference implementation, and reports with it.

The expected numbers come from mauve-text 0.4.0 (`compute_mauve` with its defaults) on the same
features. Its k-means finds these clusters from every seed that was tried; where clusters overlap,
two runs of it differ by more than it and this package do.
"""

from __future__ import annotations

import numpy as np
import pytest
from corelm_mauve import Mauve, _repetition, clusters, features, mauve
from small_models import only_forward

import corelm
from corelm.testing import ToyModel

TEXTS = ["the cat sat on the mat", "the dog saw the cat", "the cat ran", "the dog sat"] * 3


def drawn(seed, generated, human, width=24):
    """Features around as many points as there are counts, of any length."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(generated), width))
    results = []
    for counts in (generated, human):
        near = centres[np.repeat(np.arange(len(counts)), counts)]
        scale = rng.uniform(0.5, 2, size=(len(near), 1))
        results.append(near * scale + 0.05 * rng.normal(size=near.shape))
    return results


def of_features(generated, human):
    mine, theirs = clusters(generated, human)
    count = max(*mine, *theirs) + 1
    return mauve(*(np.bincount(x, minlength=count) / len(x) for x in (mine, theirs)))


@pytest.mark.parametrize(
    ("seed", "generated", "human", "expected"),
    [
        (1, [15, 5], [6, 18], 0.5596114605911457),
        (2, [20, 10, 0], [0, 10, 30], 0.025132807917391774),
        (4, [10, 10, 10, 10], [5, 9, 14, 16], 0.9735329166279025),
        (3, [10, 10, 10, 10, 10], [30, 30, 10, 10, 10], 0.9338755940145167),
    ],
)
def test_the_reference_implementation_on_the_same_features(seed, generated, human, expected):
    assert of_features(*drawn(seed, generated, human)) == pytest.approx(expected, rel=1e-12)


REFERENCE_OVER_SEEDS = {
    0.0: (0.9664, 0.0156),
    0.5: (0.9504, 0.0184),
    1.0: (0.7967, 0.0591),
}
"""The mean and the standard deviation of mauve-text 0.4.0 over 20 seeds, for random points in one
cloud and the same with one coordinate shifted, as `tests/long/mauve_reference.py` prints them."""


@pytest.mark.slow
def test_the_reference_implementation_over_seeds_where_clusters_overlap():
    """Where k-means starts changes both by more than the two differ."""
    rng = np.random.default_rng(1)
    for shift, (mean, deviation) in REFERENCE_OVER_SEEDS.items():
        first, second = rng.normal(size=(2, 200, 16))
        first[:, 0] += shift
        results = []
        for seed in range(6):
            mine, theirs = clusters(first, second, seed)
            count = int(max(mine.max(), theirs.max())) + 1
            results.append(mauve(*(np.bincount(x, minlength=count) / 200 for x in (mine, theirs))))
        error = deviation * np.sqrt(1 / 20 + 1 / len(results))
        assert abs(np.mean(results) - mean) < 4 * error, shift


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ([0.9, 0.1], [0.5, 0.5], 0.6710958126174331),
        ([0.9, 0.1, 0, 0], [0.25, 0.25, 0.25, 0.25], 0.15873427434101678),
        ([1, 0], [0, 1], 0.0040720962619612555),
        ([0.2, 0.3, 0.5], [0.3, 0.3, 0.4], 0.9961500329134327),
        ([0.3, 0.7], [0.3, 0.7], 1.0),
    ],
)
def test_the_reference_implementation_on_the_same_histograms(p, q, expected):
    assert mauve(np.array(p), np.array(q)) == pytest.approx(expected, rel=1e-9)


def test_features_are_the_last_hidden_states_of_texts_of_any_length():
    model = ToyModel()  # whose hidden states are the tokens as one-hot vectors
    results = features(model, ("the cat", "dog", "the dog sat", ""))
    encode = model.vocabulary.encode
    assert results.argmax(axis=1)[:3].tolist() == [encode(w)[0] for w in ("cat", "dog", "sat")]
    assert not results[3].any()


@pytest.mark.slow
def test_the_clusters_stay_where_texts_are_left_out():
    figure = Mauve().compare(TEXTS[:8], TEXTS, ToyModel())
    assert 0.8 < np.mean(figure(range(8))) <= 1.0
    assert all(0 < few < all_ for few, all_ in zip(figure([0, 4]), figure(range(8)), strict=True))
    assert Mauve().compare(["the"], TEXTS, ToyModel())(range(1)) is None


def report(samplers=("stochastic", "uniform"), **options):
    given = {"prompts": "the", "n": 24, "length": 6, "reference": TEXTS * 2, "metrics": "mauve"}
    return corelm.compare(ToyModel(), samplers, **given | options).to_dict()


@pytest.mark.slow
def test_a_report_has_it_with_intervals_and_differences():
    document = report(against="uniform")
    assert document["reference"]["generated_texts"]["corelm-mauve:mauve"] is None
    plain, uniform = (row["generated_texts"] for row in document["samplers"])
    low, high = plain["ci95"]["corelm-mauve:mauve"]
    assert low < plain["corelm-mauve:mauve"] <= high <= 1
    assert plain["corelm-mauve:mauve"] > uniform["corelm-mauve:mauve"]
    difference = document["samplers"][0]["differences"]["generated_texts"]["corelm-mauve:mauve"]
    assert difference["value"] > 0
    assert difference["ci95"] is not None


@pytest.mark.slow
def test_sets_of_unequal_size_are_compared_at_the_smaller_one():
    """MAUVE falls with fewer texts, but texts like the human ones are as near at any number."""
    rng = np.random.default_rng(0)
    human, own = rng.normal(size=(400, 8)), rng.normal(size=(40, 8))
    results = {size: [_repetition(own, human[:size], seed)(range(40)) for seed in range(20)]
             for size in (40, 400)}  # fmt: skip
    assert np.mean(results[400]) == pytest.approx(np.mean(results[40]), abs=0.1)
    assert _repetition(human, own, 0)(range(400)) is not None


@pytest.mark.slow
def test_the_interval_holds_where_k_means_starts_and_ends_at_1():
    """It holds the mean over many starts."""
    document = report(["temperature(t=0.7)"], texts="all")
    own = document["samplers"][0]["generated_texts"]
    low, high = own["ci95"]["corelm-mauve:mauve"]
    texts = [each["text"] for each in document["samplers"][0]["texts"]]
    mine, theirs = (features(ToyModel(), tuple(each)) for each in (texts, TEXTS * 2))
    others = [_repetition(mine, theirs, seed)(range(len(texts))) for seed in range(100, 140)]
    assert low <= np.mean(others) <= high <= 1


@pytest.mark.slow
def test_texts_that_are_all_the_same_are_one_cluster():
    [row] = report(["greedy"])["samplers"]
    assert 0 < row["generated_texts"]["corelm-mauve:mauve"] < 0.5
    same = np.ones((20, 3))
    assert of_features(same, same) == pytest.approx(1)


@pytest.mark.slow
def test_the_features_are_those_of_the_second_scorer():
    other = ToyModel(["the", "cat", "dog"], end=False)
    assert report(["uniform"], scorer=other) != report(["uniform"])


def test_a_model_without_hidden_states_fails_alone():
    [row] = report(["greedy"], scorer=only_forward(ToyModel()))["samplers"]
    reason = row["failed_metrics"]["corelm-mauve:mauve"]
    assert "hidden states, which this model does not offer; choose another one with" in reason
    assert row["generated_texts"]["surprisal"] is not None


def test_without_human_texts_it_is_refused():
    with pytest.raises(corelm.CorelmError, match="mauve compares with human text: give some as"):
        report(reference=None)
