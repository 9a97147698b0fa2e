"""The figures of human text: small examples, calculated by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import corelm
from corelm.bundles import Bundle, WordVocabulary
from corelm_report import Estimate, ModelScores, human_figures
from corelm_stats.text_figures import text_figures

SHIPPED_MODEL = Path(corelm.__file__).parent / "models" / "pretrained" / "imdb"
TEXTS, LENGTH = 64, 96
"""The size of the sets that are measured, as of a report: texts have 100 tokens with beginnings."""
VOCABULARY = WordVocabulary(["", "[UNK]", "[end]", "a", "b"], "symbols")


def scores(**changes):
    fields = {
        "targets": np.array([[3, 4, 1, 0]]),
        "surprisal": np.array([[1.0, 2.0, 3.0, 99.0]], np.float32),
        "entropy": np.array([[0.5, 1.0, 1.5, 99.0]], np.float32),
        "log_mass": np.array([[-0.5, -0.5, -0.5, 99.0]], np.float32),
    }
    return ModelScores(**{**fields, **changes})


def behind_beginnings(own, texts):
    """The figures of texts with these scores behind the four tokens with which they begin."""
    columns = zip(
        (own.targets, own.surprisal, own.entropy, own.log_mass), (3, 9, 9, 0), strict=True
    )
    begun = [np.pad(each, ((0, 0), (4, 0)), constant_values=value) for each, value in columns]
    return human_figures(ModelScores(*begun), [f"a b a b {text}" for text in texts], VOCABULARY)


def test_the_beginnings_of_texts_are_left_out_but_of_short_texts():
    human = behind_beginnings(scores(), ["a b c"])["human"]
    assert (human["beginning"], human["tokens"]) == (4, 3)
    assert human["continuation"] == [[0.5, None], [1.0, None], [1.0, None], [1.0, None]]
    short = human_figures(scores(), ["a b c"], VOCABULARY)["human"]
    assert (short["beginning"], short["tokens"], short["surprisal"]) == (0, 3, 1.0)


def test_perplexity_counts_the_unknown_word_and_leaves_padding_out():
    assert math.isclose(scores().perplexity, math.exp((1 + 2 + 3) / 3))


def test_surprisal_is_under_what_can_be_drawn_and_leaves_the_unknown_word_out():
    figures = behind_beginnings(scores(), ["a b c"])
    assert figures["human"]["surprisal"] == (0.5 + 1.5) / 2


def test_entropy_has_its_mean_and_its_band():
    entropy = behind_beginnings(scores(), ["a b c"])["human"]["entropy"]
    assert entropy == {"mean": 1.0, "median": 1.0, "band": [0.55, 1.45], "ci95": None}


TWO = {
    "targets": np.array([[3, 4, 1, 0], [3, 3, 0, 0]]),
    "surprisal": np.array([[1.0, 2.0, 3.0, 99.0], [3.0, 4.0, 99.0, 99.0]], np.float32),
    "entropy": np.array([[0.5, 1.0, 1.5, 99.0], [1.5, 2.0, 99.0, 99.0]], np.float32),
    "log_mass": np.array([[-0.5, -0.5, -0.5, 99.0], [0.0, 0.0, 99.0, 99.0]], np.float32),
}


def test_means_have_intervals_over_texts():
    human = behind_beginnings(scores(**TWO), ["a b c", "a a"])["human"]
    assert human["surprisal"] == 2.25  # of 0.5, 1.5, 3 and 4
    assert human["ci95"]["surprisal"] is None  # of two texts
    assert human["entropy"]["mean"] == 1.3
    assert human["entropy"]["ci95"] is None


def test_entropy_along_the_texts():
    human = behind_beginnings(scores(**TWO), ["a b c", "a a"])["human"]
    slope = np.polyfit([0, 1, 2, 0, 1], [0.5, 1.0, 1.5, 1.5, 2.0], 1)[0]
    assert math.isclose(human["entropy_drift"], slope, abs_tol=1e-5)
    assert human["outside_human_band"] == 0.4  # the least and the largest of five
    assert human["by_position"][4:] == [
        {"position": 4, "n": 2, "entropy": 1.0, "p05": 0.55, "p95": 1.45},
        {"position": 5, "n": 2, "entropy": 1.5, "p05": 1.05, "p95": 1.95},
        {"position": 6, "n": 1, "entropy": 1.5, "p05": 1.5, "p95": 1.5},
    ]


def test_the_measured_figures_are_reported():
    held_out = behind_beginnings(scores(), ["a b c"])["held_out"]
    assert (held_out["texts"], held_out["tokens"], held_out["first_tokens"]) == (1, 7, 8)
    assert held_out["unknown_share"] == round(1 / 7, 5)


def test_unknown_words_are_left_out_of_the_texts():
    figures = behind_beginnings(scores(), ["a b", "a c b"])["human"]
    assert figures["distinct_2"] == 0.5  # a b twice
    assert figures["self_bleu_4"] > 0


def random_texts(count, words="ab"):
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice([*words], 120)) for _ in range(count)]


@pytest.mark.parametrize(("sets", "rest"), [(2, 5), (9, 0)])
def test_figures_of_texts_are_means_over_sets_as_large_as_a_report(sets, rest):
    """The sets are disjoint and of texts far apart, which are cut to the length of a report's."""
    texts = random_texts(sets * TEXTS + rest)
    figures = behind_beginnings(scores(), texts)["human"]
    assert figures["sets"] == {"sets": sets, "texts": 64, "length": 96}
    cut = [text.split()[:LENGTH] for text in texts]
    each = [cut[first : sets * TEXTS : sets] for first in range(sets)]
    expected = [text_figures([VOCABULARY.encode(" ".join(text)) for text in some],
                             [" ".join(text) for text in some]) for some in each]  # fmt: skip
    for name in expected[0]:
        assert figures[name] == pytest.approx(np.mean([of[name] for of in expected]), abs=1e-5)
    if sets < 8:
        assert figures["ci95"]["distinct_2"] is None
    else:
        values = [of["distinct_2"] for of in expected]
        interval = Estimate.of_ratio("sets", values, np.ones(sets)).interval()
        assert figures["ci95"]["distinct_2"] == pytest.approx(interval, abs=1e-5)


def test_fewer_texts_than_a_set_are_one_set_without_intervals():
    figures = behind_beginnings(scores(), random_texts(3))["human"]
    assert figures["sets"] == {"sets": 1, "texts": 3, "length": 96}
    assert figures["distinct_1"] == round(2 / 288, 5)
    assert figures["ci95"]["distinct_1"] is None
    loops = behind_beginnings(scores(), ["a b b a a a b"] * 16)["human"]
    low, high = loops["ci95"]["loops"]  # it has an interval even at zero
    assert loops["loops"] == low == 0 < high < 0.25


def test_json_can_hold_them():
    for texts in (["a b c"], [""]):
        figures = behind_beginnings(scores(), texts)
        assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@pytest.mark.skipif(not SHIPPED_MODEL.exists(), reason="the shipped model is not in this checkout")
def test_the_shipped_model_has_all_figures():
    figures = Bundle.describe(SHIPPED_MODEL).manifest["figures"]
    of_scores = behind_beginnings(scores(), ["a b c"])
    assert figures.keys() == of_scores.keys()
    human = figures["human"]
    assert human.keys() == of_scores["human"].keys()
    assert None not in human.values()
    assert human["sets"] == {"sets": 39, "texts": TEXTS, "length": LENGTH}
    assert math.isclose(human["outside_human_band"], 0.1, abs_tol=1e-4)
    assert len(human["by_position"]) == 100
    assert sum(row["n"] for row in human["by_position"]) == figures["held_out"]["tokens"]
    weighted = [row["n"] * row["entropy"] for row in human["by_position"][4:]]
    mean = sum(weighted) / human["tokens"]
    assert math.isclose(mean, human["entropy"]["mean"], abs_tol=1e-4)
    for name, ends in human["ci95"].items():
        assert ends[0] <= human[name] <= ends[1], name
