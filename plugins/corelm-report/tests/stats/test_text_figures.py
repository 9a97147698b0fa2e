"""Figures of sets of texts: by hand in a report's human row, against NLTK, and left out in turn."""

from __future__ import annotations

import gzip
import time
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from documents import compare
from hypothesis import given
from hypothesis import strategies as st
from long_programs import long_program
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from scipy import stats

from corelm.testing import ToyModel
from corelm_stats.ngrams import sharing
from corelm_stats.text_figures import by_text, left_out_of_set, text_figures

SMOOTHING = SmoothingFunction().method1


def figures_of(*texts: str):
    """The figures of human texts, which a report measures as those of samplers."""
    model = ToyModel([*"abcdefgh"])
    made = compare(["greedy"], model=model, prompts="a", n=len(texts), length=40, reference=texts)
    return made["reference"]["generated_texts"]


@pytest.mark.parametrize(
    ("texts", "figures"),
    [
        # words a a a a b; pairs aa aa ab; one triple
        (["a a a", "a b"], {"distinct_1": 2 / 5, "distinct_2": 2 / 3, "distinct_3": 1.0}),
        # pairs ab ba ab ba, and ab bc; a text of one word has no pair
        (["a b a b a", "a b c", "a"], {"rep_2": 0.25}),
        # 2 of 5 pairs, 2 of 4 triples and 2 of 3 quadruples are different
        (["a b a b a b"], {"diversity": 2 / 5 * 2 / 4 * 2 / 3, "loops": 1.0, "rep_4": 1 / 3}),
        (["a b c"], {"diversity": None, "rep_4": None, "loops": 0.0, "self_bleu_4": None}),
        (
            ["a b a b a b", "c d e f"],
            {"distinct_1": 6 / 10, "distinct_2": 5 / 8, "distinct_3": 4 / 6, "rep_2": 3 / 10,
             "rep_3": 2 / 8, "rep_4": 1 / 6, "diversity": (2 / 15 + 1) / 2, "loops": 0.5,
             "self_bleu_4": 0.0},
        ),
        # frequencies 6 3 2 are 6 / rank
        ([" ".join("aaaaaabbbcc")], {"zipf": 1.0}),
        (["a b", "c"], {"zipf": 0.0}),
        (["a a"], {"zipf": None}),
        (["a b c d e"] * 3, {"self_bleu_4": 1.0}),
    ],
)  # fmt: skip
def test_figures_by_hand(texts, figures):
    found = figures_of(*texts)
    for name, value in figures.items():
        assert found[name] == (None if value is None else pytest.approx(value)), name


def test_compression_is_that_of_gzip_on_all_texts_together():
    texts = ["a b c d", "a b c d e f g"]
    joined = b" ".join(text.encode() for text in texts)
    expected = len(joined) / len(gzip.compress(joined, mtime=0))
    assert figures_of(*texts)["compression"] == pytest.approx(expected)
    [long, first, second, empty] = (
        text_figures([], written)["compression"]
        for written in (["so good " * 100], ["\u00e9" * 50], ["\u00e8" * 50], ["", " "])
    )
    assert long > 20
    assert first == second
    assert empty is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ([3, 4] * 3, True),
        ([9, 8, 7] + [3, 4, 5] * 3, True),
        ([3, 4, 5] * 3 + [3], True),  # breaks off inside the phrase
        ([3, 4, 5] * 2 + [3, 4], False),
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
    assert by_text([text])["loops"].tolist() == [expected]


def test_zipf_is_least_squares():
    tokens = np.random.default_rng(1).zipf(1.5, 500)
    counts = np.sort(np.unique(tokens, return_counts=True)[1])[::-1]
    fit = stats.linregress(np.log(np.arange(1, len(counts) + 1)), np.log(counts))
    assert np.isclose(text_figures([tokens.tolist()], [""])["zipf"], -fit.slope)


def test_no_text_has_no_figures():
    assert set(text_figures([], []).values()) == {None}
    figures = text_figures([[]], [""])
    assert {name for name, value in figures.items() if value is not None} == {"loops"}


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=6))
def test_figures_of_a_text_are_the_same_alone_as_among_others(texts):
    among = by_text(texts)
    for i, text in enumerate(texts):
        for name, [alone] in by_text([text]).items():
            np.testing.assert_equal(among[name][i], alone, err_msg=name)


@pytest.mark.slow
def test_figures_equal_independent_code_on_random_sets():
    assert long_program("independent_figures").disagreements(sets=200) == []


# Self-BLEU


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


@pytest.mark.parametrize(
    "texts",
    [
        *map(random_texts, range(40)),
        [[3, 4, 5, 6, 7], [3, 4, 5, 6, 8], [3]],
        [[3, 4], [3, 4], [3, 4]],  # no triple: smoothed
        [[3, 4, 5, 6]] * 2 + [[3, 4, 5, 6, 7, 8, 9]],  # a long text and two short references
        [[3, 4, 5, 6, 7], [3, 4, 5], [3, 4, 5, 6, 7, 8, 9]],  # two references as near
        [[], [3, 4, 5, 6], []],
        [[], [], []],
    ],
)
def test_self_bleu_is_that_of_nltk_and_without_each_text_that_of_the_others(texts):
    whole = text_figures(texts, [""] * len(texts))["self_bleu_4"]
    assert np.isclose(whole, by_nltk(texts), rtol=1e-12, atol=1e-15)
    expected = [by_nltk(texts[:i] + texts[i + 1 :]) for i in range(len(texts))]
    without = left_out_of_set(texts, [""] * len(texts))["self_bleu_4"]
    np.testing.assert_allclose(without, expected, rtol=1e-12, atol=1e-15)


def test_texts_that_share_a_phrase_of_four_tokens():
    assert sharing([[3, 4, 5, 6, 3, 4, 5, 6], [7, 8, 9, 10], [3, 4, 5]]) == 0
    assert sharing([[3, 4, 5, 6], [7, 3, 4, 5, 6], [8, 9, 10, 11, 12]]) == 2
    assert sharing([]) == 0


def test_a_report_s_worth_of_texts_takes_little_time():
    rng = np.random.default_rng(0)
    texts = [(rng.zipf(1.3, 100) % 15000).tolist() for _ in range(64)]
    started = time.process_time()  # unlike the time of day, it stands while others compute
    whole = text_figures(texts, [""] * 64)["self_bleu_4"]
    without = left_out_of_set(texts, [""] * 64)["self_bleu_4"]
    assert time.process_time() - started < 1  # 0.02 s; NLTK takes more than a second for `whole`
    assert min(without) < whole < max(without)


# Without each part of a set


@pytest.mark.parametrize("size", [0, 1, 2, 5, 64, 65, 140])
def test_figures_without_a_text_are_those_of_the_smaller_set(size):
    """Of more than 64 texts, without every 64th."""
    rng = np.random.default_rng(size)
    texts = [rng.integers(0, 9, rng.integers(0, 12)).tolist() for _ in range(size)]
    written = [" ".join(map(str, text)) for text in texts]
    found = left_out_of_set(texts, written)
    names = ["distinct_1", "distinct_2", "distinct_3", "zipf"]
    names += ["compression"] if size <= 5 else []  # of larger sets it is an approximation
    for name in names:
        assert len(found[name]) == min(size, 64)
        for part in range(0, min(size, 64), 7):
            kept = [i for i in range(size) if i % 64 != part]
            smaller = text_figures([texts[i] for i in kept], [written[i] for i in kept])
            assert found[name][part] == smaller[name], (name, part)


def compression(written):
    """The compression of a set, and without each of its parts."""
    tokens = [[]] * len(written)
    whole = text_figures(tokens, written)["compression"]
    return whole, left_out_of_set(tokens, written)["compression"]


def words(rng, texts):
    return [" ".join(f"w{i}" for i in rng.zipf(1.3, 20) % 3000) for _ in range(texts)]


def sticky(rng):
    """Return a text whose words mostly repeat the one before."""
    words = ["w0"]
    for _ in range(11):
        words.append(f"w{rng.integers(6)}" if rng.random() < 0.15 else words[-1])
    return " ".join(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "write", "least", "most"),
    [
        # Compressing the rest of a set 64 times is too wide here by a quarter.
        (5, lambda rng: words(rng, 200), 0.75, 1.25),
        # Each text alone takes some three bytes here, whose rounding hid half of the error.
        (6, lambda rng: [sticky(rng) for _ in range(64)], 0.9, 2),
    ],
)
def test_compression_without_each_part_tells_how_sets_vary(seed, write, least, most):
    """Of independent sets, the standard deviation is about the standard error of each."""
    rng = np.random.default_rng(seed)
    found = [compression(write(rng)) for _ in range(60)]
    errors = [np.std(without) * np.sqrt(63) for _, without in found]
    spread = np.std([whole for whole, _ in found], ddof=1)
    assert least < np.mean(errors) / spread < most


def test_compression_without_each_part_of_few_or_empty_texts():
    assert compression([]) == (None, [])
    assert compression(["", " "]) == (None, [None, None])
    assert compression(["a film"])[1] == [None]
    assert None not in compression(["a film", "a bad film"])[1]


def test_compression_without_each_part_compresses_each_text_once(monkeypatch):
    written, sizes = words(np.random.default_rng(1), 1000), []
    make = zlib.compressobj

    def counted(*arguments, **options):
        deflate = make(*arguments, **options)

        def compress(part):
            sizes.append(len(part))
            return deflate.compress(part)

        return SimpleNamespace(compress=compress, flush=deflate.flush)

    monkeypatch.setattr("corelm_stats.text_figures.zlib.compressobj", counted)
    left_out_of_set([[]] * 1000, written)
    assert sum(sizes) == len(" ".join(written)) + 1  # 64 times that, compressing each rest
