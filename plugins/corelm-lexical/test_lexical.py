"""MATTR and MTLD: values worked out by hand, and a second way to compute each exactly."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from corelm_lexical_words import words
from corelm_mattr import Mattr, mattr
from corelm_mtld import Mtld, mtld

import corelm
from corelm.testing import ToyModel

PEOPLE = "of the people by the people for the people"
TEXTS = [
    [str(word) for word in np.random.default_rng(seed).zipf(1.4, length) % 500]
    for seed, length in enumerate((50, 51, 75, 120, 400, 1000))
]


def slow_mattr(text: list[str], window: int) -> Fraction:
    parts = [text[i : i + window] for i in range(len(text) - window + 1)]
    return sum((Fraction(len(set(part)), window) for part in parts), Fraction()) / len(parts)


def slow_mtld(text: list[str], threshold: Fraction) -> Fraction:
    def factors(rest: list[str]) -> Fraction:
        ratios = [Fraction(len(set(rest[:n])), n) for n in range(1, len(rest) + 1)]
        end = next((n for n, ratio in enumerate(ratios, 1) if ratio <= threshold), None)
        if end is not None:
            return 1 + factors(rest[end:])
        return (1 - ratios[-1]) / (1 - threshold) if rest else Fraction()

    return sum((Fraction(len(text)) / factors(way) for way in (text, text[::-1])), Fraction()) / 2


@pytest.mark.parametrize(
    ("text", "window", "expected"),
    [
        ("a b a c", 3, (2 / 3 + 3 / 3) / 2),
        ("a a a a", 2, 1 / 2),
        (PEOPLE, 9, 5 / 9),
        (PEOPLE, 4, (4 + 3 + 3 + 4 + 3 + 3) / 6 / 4),
        ("a b", 3, None),
        ("", 1, None),
    ],
)
def test_mattr_by_hand(text: str, window: int, expected: float | None) -> None:
    assert mattr(text.split(), window) == (expected and pytest.approx(expected, rel=1e-15))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Forward the ratio falls to 4/6 at the sixth word, backward to 3/5 at the fifth; no word
        # repeats in what remains, so there is one factor either way.
        (PEOPLE, 9.0),
        # Two factors of "a a", ratio 1/2.
        ("a a a a", 2.0),
        # "a b a" has the ratio 2/3; then "c", of which nothing is a factor. Backward "c a b a" has
        # 3/4: (1 - 0.75) / (1 - 0.72) of a factor.
        ("a b a c", (4 + 4 / (0.25 / 0.28)) / 2),
        # 18 different words of 25: the ratio reaches the threshold exactly, at the last word.
        # Backward, "0 0" ends three stretches; "0" and the 17 others have the ratio 18/19.
        (" ".join([*map(str, range(18)), *["0"] * 7]), (25 + 25 / (3 + 1 / 19 / 0.28)) / 2),
        ("a b c", None),
        ("", None),
    ],
)
def test_mtld_by_hand(text: str, expected: float | None) -> None:
    assert mtld(text.split()) == (expected and pytest.approx(expected, rel=1e-12))


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS, ids=len)
def test_both_against_exact_fractions(text: list[str]) -> None:
    assert mattr(text, 50) == pytest.approx(float(slow_mattr(text, 50)), rel=1e-14)
    assert mtld(text) == pytest.approx(float(slow_mtld(text, Fraction(72, 100))), rel=1e-12)


def test_words() -> None:
    assert words("The film's END -- don\u2019t ask, snake_case 3.5") == [
        "the", "film's", "end", "don\u2019t", "ask", "snake", "case", "3", "5",
    ]  # fmt: skip


def test_a_report_has_them_with_intervals_for_people_too() -> None:
    people = ["the cat sat on the mat the dog ran the cat " * 5] * 2
    report = corelm.compare(
        ToyModel(end=False),
        ["greedy", "temperature(t=1.0)"],
        prompts="the",
        n=12,
        length=60,
        reference=people,
        metrics=["mattr", "corelm-lexical:mtld"],
        texts="all",
    ).to_dict()
    assert [each["name"] for each in report["header"]["metrics"]] == [
        "corelm-lexical:mattr",
        "corelm-lexical:mtld",
    ]
    for row in report["samplers"]:
        texts = [words(text["text"]) for text in row["texts"]]
        own = row["generated_texts"]
        assert own["corelm-lexical:mattr"] == pytest.approx(np.mean([mattr(t) for t in texts]))
        assert own["corelm-lexical:mtld"] == pytest.approx(np.mean([mtld(t) for t in texts]))
    greedy, drawn = (row["generated_texts"]["ci95"] for row in report["samplers"])
    assert greedy["corelm-lexical:mattr"] is None  # it wrote one text again and again
    low, high = drawn["corelm-lexical:mtld"]
    assert low < report["samplers"][1]["generated_texts"]["corelm-lexical:mtld"] < high
    human = report["reference"]["generated_texts"]["corelm-lexical:mattr"]
    assert human == pytest.approx(mattr(words(people[0])))


def test_the_parameters_decide_and_are_in_the_meaning() -> None:
    assert Mattr(window=3).of_text([], "a b a c") == mattr(["a", "b", "a", "c"], 3) != 1
    assert Mtld(threshold=0.5).of_text([], "a a a a") == mtld(["a", "a", "a", "a"], 0.5)
    assert (
        Mattr(window=30).meaning == "the share of different words in a window of 30 words (MATTR)"
    )
    assert "until only 80% are different" in Mtld(threshold=0.8).meaning
