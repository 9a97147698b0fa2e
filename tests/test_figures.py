"""The figures of human text: small examples worked out by hand."""

import math

import numpy as np

from corelm.model.figures import Scores, human_figures
from corelm.model.vocabulary import WordVocabulary

VOCABULARY = WordVocabulary(["", "[UNK]", "[end]", "a", "b"], "symbols")


def scores(**changes):
    fields = {
        "targets": np.array([[3, 4, 1, 0]]),
        "surprisal": np.array([[1.0, 2.0, 3.0, 99.0]], np.float32),
        "entropy": np.array([[0.5, 1.0, 1.5, 99.0]], np.float32),
        "kept": np.array([[-0.5, -0.5, -0.5, 99.0]], np.float32),
    }
    return Scores(**{**fields, **changes})


def test_perplexity_counts_the_unknown_word_and_leaves_padding_out():
    assert math.isclose(scores().perplexity, math.exp((1 + 2 + 3) / 3))


def test_surprisal_is_under_what_can_be_drawn_and_leaves_the_unknown_word_out():
    figures = human_figures(scores(), ["a b c"], VOCABULARY)
    assert figures["human"]["surprisal"] == (0.5 + 1.5) / 2


def test_entropy_has_its_mean_and_its_band():
    entropy = human_figures(scores(), ["a b c"], VOCABULARY)["human"]["entropy"]
    assert entropy == {"mean": 1.0, "median": 1.0, "band": [0.55, 1.45]}


def test_what_was_measured_is_said():
    held_out = human_figures(scores(), ["a b c"], VOCABULARY)["held_out"]
    assert (held_out["texts"], held_out["tokens"], held_out["first_tokens"]) == (1, 3, 4)
    assert held_out["unknown_share"] == 0.33333


def test_distinct_is_over_all_texts_and_repetition_inside_each():
    # a a a | a b: words a a a a b, 2 of 5 differ; pairs aa aa ab, 2 of 3 differ
    figures = human_figures(scores(), ["a a a", "a b"], VOCABULARY)["human"]
    assert figures["distinct_1"] == 0.4
    assert figures["distinct_2"] == 0.66667
    # pairs of the first text: aa aa, half repeat; of the second: ab, none
    assert figures["rep_2"] == 0.25
    assert figures["rep_4"] == 0.0
