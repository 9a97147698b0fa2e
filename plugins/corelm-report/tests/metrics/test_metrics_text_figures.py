"""Figures of sets of texts: small examples worked out by hand."""

from __future__ import annotations

import zlib
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from corelm_report.metrics.ngrams import ngrams
from corelm_report.metrics.text_figures import (
    GROUPS,
    compression,
    compression_left_out,
    distinct,
    distinct_left_out,
    diversity,
    left_out,
    loops,
    mean,
    repetition,
    text_figures,
    zipf,
    zipf_left_out,
)
from scipy import stats


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_ngrams_are_those_of_each_text(n):
    rng = np.random.default_rng(n)
    texts = [rng.integers(0, 3, size).tolist() for size in (0, 7, 1, 3, 12)]
    grams, owners = ngrams(texts, n)
    expected = [
        (owner, tuple(text[i : i + n]))
        for owner, text in enumerate(texts)
        for i in range(len(text) - n + 1)
    ]
    assert owners.tolist() == [owner for owner, _ in expected]
    numbers = {gram: number for (_, gram), number in zip(expected, grams.tolist(), strict=True)}
    assert [numbers[gram] for _, gram in expected] == grams.tolist()
    assert len(set(numbers.values())) == len(numbers)


def test_distinct_is_over_all_texts_together():
    texts = [[3, 3, 3], [3, 4]]  # words 3 3 3 3 4; pairs 33 33 34; one triple
    assert distinct(texts, 1) == 2 / 5
    assert distinct(texts, 2) == 2 / 3
    assert distinct(texts, 3) == 1.0
    assert distinct(texts, 4) is None


def test_repetition_is_inside_each_text():
    texts = [[3, 4, 3, 4, 3], [3, 4, 5], [3]]  # pairs 34 43 34 43, and 34 45
    assert repetition(texts, 2).tolist()[:2] == [0.5, 0.0]
    assert np.isnan(repetition(texts, 2)[2])


def test_diversity_is_the_product():
    text = [3, 4, 3, 4, 3, 4]  # 2 of 5 pairs, 2 of 4 triples, 2 of 3 quadruples are different
    assert np.isclose(diversity([text])[0], 2 / 5 * 2 / 4 * 2 / 3)
    assert np.isnan(diversity([[3, 4, 5]])[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ([3, 4] * 3, True),
        ([9, 8, 7] + [3, 4, 5] * 3, True),
        ([3, 4, 5] * 3 + [3], True),  # breaks off inside the phrase
        ([3, 4, 5] * 3 + [3, 4], True),
        ([3, 4, 5] * 2 + [3, 4], False),
        ([3, 4] * 2, False),
        ([3, 4] * 3 + [9], False),  # it found a way out
        ([9, 4] + [3, 4] * 2, False),
        ([3] * 5, False),
        ([3] * 6, True),
        ([3, 3, 4] * 3, True),
        ([3], False),
        ([], False),
    ],
)
def test_a_loop_is_a_phrase_of_two_tokens_three_times_at_the_end(text, expected):
    assert loops([text]).tolist() == [expected]


def test_loops_by_the_definition_word_for_word():
    def word_for_word(text):
        return any(
            text[len(text) - 3 * n :] == text[len(text) - n :] * 3
            for n in range(2, len(text) // 3 + 1)
        )

    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 2, rng.integers(0, 14)).tolist() for _ in range(500)]
    expected = [word_for_word(text) for text in texts]
    assert loops(texts).tolist() == expected
    assert 10 < sum(expected) < 490


def test_zipf_of_frequencies_that_follow_the_law():
    texts = [[3] * 60, [4] * 30 + [5] * 20, [6] * 15, [7] * 12]
    assert np.isclose(zipf(texts), 1.0)
    assert zipf([[3, 4], [5]]) == 0.0
    assert zipf([[3, 3]]) is None
    assert zipf([]) is None


def test_zipf_is_least_squares():
    tokens = np.random.default_rng(1).zipf(1.5, 500)
    counts = np.sort(np.unique(tokens, return_counts=True)[1])[::-1]
    fit = stats.linregress(np.log(np.arange(1, len(counts) + 1)), np.log(counts))
    assert np.isclose(zipf([tokens.tolist()]), -fit.slope)


def test_compression_is_that_of_gzip_on_all_texts_together():
    texts = [" a good film. ", "not so good a film, this one"]
    joined = b"a good film. not so good a film, this one"
    gzip = zlib.compressobj(9, wbits=31)
    assert compression(texts) == len(joined) / len(gzip.compress(joined) + gzip.flush())
    assert compression(["so good " * 100]) > 20
    assert compression(["\u00e9" * 50]) == compression(["\u00e8" * 50])
    assert compression(["", " "]) is None


def test_left_out_leaves_each_text_out():
    assert left_out(len, [[3], [4], [5]]) == [2, 2, 2]
    assert left_out(lambda texts: texts[0][0], [[3], [4], [5]]) == [4, 3, 3]


def test_left_out_leaves_groups_out_of_large_sets():
    texts = [[i] for i in range(2 * GROUPS + 1)]
    some = left_out(lambda texts: sum(text[0] for text in texts), texts)
    everything = sum(range(2 * GROUPS + 1))
    assert len(some) == GROUPS
    assert everything - some[0] == 0 + GROUPS + 2 * GROUPS
    assert everything - some[1] == 1 + GROUPS + 1


def test_a_mean_leaves_out_nan():
    assert mean(np.array([1.0, np.nan, 3.0])) == 2.0
    assert mean(np.array([np.nan])) is None


def test_all_figures_by_name():
    texts = [[3, 4] * 3, [5, 6, 7, 8]]
    figures = text_figures(texts, ["a b a b a b", "c d e f"])
    assert figures["distinct_1"] == 6 / 10
    assert figures["distinct_2"] == 5 / 8
    assert figures["distinct_3"] == 4 / 6
    assert np.isclose(figures["rep_2"], (3 / 5 + 0) / 2)
    assert np.isclose(figures["rep_3"], (2 / 4 + 0) / 2)
    assert np.isclose(figures["rep_4"], (1 / 3 + 0) / 2)
    assert np.isclose(figures["diversity"], (2 / 5 * 2 / 4 * 2 / 3 + 1) / 2)
    assert figures["loops"] == 0.5
    assert figures["self_bleu_4"] == 0.0
    assert figures["compression"] < 1
    assert figures["zipf"] > 0


def test_no_text_has_no_figures():
    assert set(text_figures([], []).values()) == {None}
    figures = text_figures([[]], [""])
    assert {name for name, value in figures.items() if value is not None} == {"loops"}


@pytest.mark.parametrize("size", [0, 1, 2, 64, 65, 200])
def test_figures_without_a_text_are_those_of_the_smaller_set(size):
    rng = np.random.default_rng(size)
    texts = [rng.integers(0, 9, rng.integers(0, 12)).tolist() for _ in range(size)]
    for n in (1, 2, 3):
        assert distinct_left_out(texts, n) == left_out(partial(distinct, n=n), texts)
    assert zipf_left_out(texts) == left_out(zipf, texts)


def words(rng, texts):
    return [" ".join(f"w{i}" for i in rng.zipf(1.3, 20) % 3000) for _ in range(texts)]


@pytest.mark.slow
def test_compression_without_each_part_tells_how_sets_vary():
    """Of independent sets, the standard deviation is the standard error of each within a quarter.

    Compressing the rest of a set 64 times is too wide here by a quarter.
    """
    rng = np.random.default_rng(5)
    sets = [words(rng, 200) for _ in range(60)]
    errors = [np.std(compression_left_out(each)) * np.sqrt(GROUPS - 1) for each in sets]
    spread = np.std([compression(each) for each in sets], ddof=1)
    assert np.mean(errors) == pytest.approx(spread, rel=0.25)


@pytest.mark.slow
def test_compression_of_short_texts_that_repeat_varies_as_much_as_is_said():
    """Each text alone takes some three bytes here, whose rounding hid half of the error."""
    rng = np.random.default_rng(6)
    sets = [[sticky(rng) for _ in range(64)] for _ in range(60)]
    errors = [np.std(compression_left_out(each)) * np.sqrt(63) for each in sets]
    spread = np.std([compression(each) for each in sets], ddof=1)
    assert 0.9 < np.mean(errors) / spread < 2


def sticky(rng):
    """Return a text whose words mostly repeat the one before."""
    words = ["w0"]
    for _ in range(11):
        words.append(f"w{rng.integers(6)}" if rng.random() < 0.15 else words[-1])
    return " ".join(words)


def test_compression_without_each_part_of_few_or_empty_texts():
    assert compression_left_out([]) == []
    assert compression_left_out(["", " "]) == [None, None]
    assert compression_left_out(["a film"]) == [None]
    assert None not in compression_left_out(["a film", "a bad film"])


def test_compression_without_each_part_compresses_each_text_once(monkeypatch):
    written, sizes = words(np.random.default_rng(1), 1000), []
    make = zlib.compressobj

    def counted(*arguments, **options):
        deflate = make(*arguments, **options)

        def compress(part):
            sizes.append(len(part))
            return deflate.compress(part)

        return SimpleNamespace(compress=compress, flush=deflate.flush)

    monkeypatch.setattr("corelm_report.metrics.text_figures.zlib.compressobj", counted)
    compression_left_out(written)
    assert sum(sizes) == len(" ".join(written)) + 1  # 64 times that, compressing each rest
