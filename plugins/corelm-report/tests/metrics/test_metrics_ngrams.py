"""Self-BLEU equals what NLTK computes text by text."""

from __future__ import annotations

import time

import numpy as np
import pytest
from corelm_report.metrics.ngrams import self_bleu, self_bleu_left_out, sharing
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

SMOOTHING = SmoothingFunction().method1


def by_nltk(texts):
    return np.mean(
        [
            sentence_bleu(texts[:i] + texts[i + 1 :], text, smoothing_function=SMOOTHING)
            for i, text in enumerate(texts)
        ]
    )


def random_texts(seed):
    """Three to six texts of no to eleven tokens, of two to five kinds."""
    rng = np.random.default_rng(seed)
    kinds, count = rng.integers(2, 6), rng.integers(3, 7)
    return [rng.integers(0, kinds, rng.integers(0, 12)).tolist() for _ in range(count)]


@pytest.mark.parametrize("seed", range(60))
def test_it_equals_nltk(seed):
    texts = random_texts(seed)
    assert np.isclose(self_bleu(texts), by_nltk(texts), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("seed", range(60))
def test_without_each_text_it_equals_nltk_on_the_others(seed):
    texts = random_texts(seed)
    expected = [by_nltk(texts[:i] + texts[i + 1 :]) for i in range(len(texts))]
    np.testing.assert_allclose(self_bleu_left_out(texts), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "texts",
    [
        [[3, 4, 5, 6, 7], [3, 4, 5, 6, 8]],
        [[3, 4], [3, 4]],  # no triple: smoothed
        [[3, 4, 5, 6]] * 2 + [[3, 4, 5, 6, 7, 8, 9]],  # a long text and two short references
        [[3, 4, 5, 6, 7], [3, 4, 5], [3, 4, 5, 6, 7, 8, 9]],  # two references as near
        [[], [3, 4, 5, 6]],
        [[], []],
    ],
)
def test_lengths_and_texts_too_short(texts):
    assert np.isclose(self_bleu(texts), by_nltk(texts), rtol=1e-12)


def test_the_ends_of_the_scale():
    assert np.isclose(self_bleu([[3, 4, 5, 6, 7]] * 3), 1.0)
    assert self_bleu([[3, 4, 5, 6], [7, 8, 9, 10]]) == 0.0


def test_too_few_texts():
    assert self_bleu([[3, 4, 5, 6]]) is None
    assert self_bleu([]) is None
    assert self_bleu_left_out([[3, 4], [3, 5]]) == [None, None]
    assert self_bleu_left_out([]) == []


def test_texts_that_share_a_phrase_of_four_tokens():
    assert sharing([[3, 4, 5, 6, 3, 4, 5, 6], [7, 8, 9, 10], [3, 4, 5]]) == 0
    assert sharing([[3, 4, 5, 6], [7, 3, 4, 5, 6], [8, 9, 10, 11, 12]]) == 2
    assert sharing([]) == 0


def test_a_report_s_worth_of_texts_takes_little_time():
    rng = np.random.default_rng(0)
    texts = [(rng.zipf(1.3, 100) % 15000).tolist() for _ in range(64)]
    started = time.process_time()  # unlike the time of day, it stands while others compute
    whole = self_bleu(texts)
    left_out = self_bleu_left_out(texts)
    assert time.process_time() - started < 1  # 0.02 s; NLTK takes more than a second for `whole`
    assert len(left_out) == 64
    assert min(left_out) < whole < max(left_out)
