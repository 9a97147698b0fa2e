"""Surprisal under another model, and bits per byte."""

from __future__ import annotations

import math

import numpy as np
import pytest
from documents import compare

import corelm
from corelm.testing import ToyModel
from corelm_report.measure.text_records import score

P = {"so": 0.5, "it": 0.25, "goes": 0.25}
TEXTS = ["the cat sat on the mat", "the dog saw a zebra"]


class PairVocabulary:
    """Tokens of one or two letters, read from the left, so that prompts change what follows."""

    padding, unknown, start, ends = None, None, None, ()
    tokens = ("a", "b", "aa", "ab", "ba", "bb", "é")

    def __len__(self):
        return len(self.tokens)

    def encode(self, text):
        ids, at = [], 0
        while at < len(text):
            size = 2 if text[at : at + 2] in self.tokens and at + 2 <= len(text) else 1
            ids.append(self.tokens.index(text[at : at + size]))
            at += size
        return ids

    def decode(self, ids):
        return "".join(self.tokens[i] for i in ids)


def pairs() -> ToyModel:
    model = ToyModel(list("abcde"), logits=np.log([1, 2, 3, 4, 5, 6, 7]), end=False)
    model.vocabulary = PairVocabulary()
    return model


def words(**p: float) -> ToyModel:
    """A model of these words that have these probabilities everywhere."""
    return ToyModel(list(p), logits=[0, 0, *np.log(list(p.values()))], end=False)


@pytest.mark.parametrize(
    ("prompt", "text", "tokens", "bytes"),
    [
        ("so", " it goes", ["it", "goes"], 8),
        ("so", "", [], 0),
        ("", "so it goes", ["it", "goes"], 8),  # no token before the first one
        ("so", " it rains so", ["it", "so"], 6),  # an unknown word and its bytes are left out
    ],
)
def test_nats_and_bytes_by_hand(prompt, text, tokens, bytes):
    [found] = score(words(**P), [(prompt, text)])
    assert found["nats"] == pytest.approx(-sum(math.log(P[token]) for token in tokens), abs=1e-6)
    assert (found["tokens"], found["bytes"]) == (len(tokens), bytes)


@pytest.mark.parametrize(
    ("prompt", "text", "tokens"),
    [
        ("ab", "ab", ["ab"]),
        ("a", "bb", ["bb"]),  # "abb" is "ab", "b": a token would reach into the text
        ("b", "é", ["é"]),
        ("", "abb", ["b"]),
    ],
)
def test_the_prompt_is_never_scored(prompt, text, tokens):
    [found] = score(pairs(), [(prompt, text)])
    weights = [PairVocabulary.tokens.index(token) + 1 for token in tokens]
    assert found["nats"] == pytest.approx(-sum(math.log(w / 28) for w in weights), abs=1e-5)
    assert found["bytes"] == len("".join(tokens).encode())


def test_texts_of_any_length_keep_their_order():
    texts = [("so it", " goes"), ("so", ""), ("so", " it goes so it"), ("it", " so")]
    assert score(words(**P), texts) == [score(words(**P), [each])[0] for each in texts]


def test_under_itself_a_model_measures_the_same():
    document = corelm.compare(
        ToyModel(end=False), ["temperature(t=0.9)", "temperature(t=0.5)"], prompts="the", n=12,
        length=9, scorer=ToyModel(end=False), texts="all",
    ).to_dict()  # fmt: skip
    for row in document["samplers"]:
        own = row["generated_texts"]
        assert own["scorer_surprisal"] == pytest.approx(own["surprisal"])
        assert own["scorer_bits_per_byte"] == pytest.approx(own["bits_per_byte"])
        size = sum(len(text["text"].encode()) for text in row["texts"])
        bits = own["surprisal"] * own["tokens"] / math.log(2)
        assert own["bits_per_byte"] == pytest.approx(bits / size)
        low, high = own["ci95"]["scorer_bits_per_byte"]
        assert low <= own["scorer_bits_per_byte"] <= high
        figures = [text["figures"] for text in row["texts"]]
        assert [f["scorer_bits_per_byte"] for f in figures] == pytest.approx(
            [f["bits_per_byte"] for f in figures]
        )


def test_the_end_of_a_text_has_no_bytes_and_costs_nothing():
    model = ToyModel()
    [row] = corelm.compare(
        model, "stochastic", prompts="the", n=8, length=12, texts="all"
    ).to_dict()["samplers"]
    assert {text["finish_reason"] for text in row["texts"]} == {"end", "length"}
    scores = score(model, [("the", text["text"]) for text in row["texts"]])
    bits = sum(each["nats"] for each in scores) / math.log(2)
    assert row["generated_texts"]["bits_per_byte"] == pytest.approx(
        bits / sum(each["bytes"] for each in scores)
    )


@pytest.mark.slow
def test_human_texts_are_scored_and_the_scorer_is_named(tmp_path):
    report = corelm.compare(
        ToyModel(),
        "greedy",
        prompts="the",
        n=2,
        length=6,
        reference=TEXTS,
        scorer=ToyModel(),
        against="human",
    )
    document = report.to_dict()
    corelm.Report(document)
    assert document["header"]["second_scorer"] == {"name": "ToyModel", "sha256": None}
    human = document["reference"]["generated_texts"]
    # "a zebra" is unknown to both: both read it as [UNK] and leave it out.
    assert human["scorer_bits_per_byte"] == pytest.approx(human["bits_per_byte"], rel=1e-9)
    assert human["scorer_surprisal"] == pytest.approx(human["surprisal"], rel=1e-9)
    assert "in those of the second scorer" in document["reference"]["description"]
    [row] = document["samplers"]
    assert "scorer_surprisal" in row["differences"]["generated_texts"]
    assert "Second scorer: ToyModel." in report.to_markdown()
    assert "Second scorer" in report.to_html()
    assert "generated_texts,scorer_bits_per_byte" in report.to_csv()


def test_without_a_second_scorer_there_is_none():
    report = corelm.compare(ToyModel(), "greedy", prompts="the", n=2, length=6)
    document = report.to_dict()
    assert document["header"]["second_scorer"] is None
    assert "scorer_surprisal" not in document["samplers"][0]["generated_texts"]
    assert "scorer" not in report.to_markdown().lower()


@pytest.mark.parametrize(
    ("scorer", "says"), [(ToyModel(), True), (ToyModel(["the", "cat"]), False)]
)
def test_a_scorer_of_the_same_family_is_named_so(scorer, says):
    warnings = compare(["greedy"], scorer=scorer)["warnings"]
    assert any("is of the same family" in each for each in warnings) == says


def test_a_note_says_what_becomes_of_unknown_words():
    document = compare(["greedy"], reference=["the cat barked", "the dog sat"])
    assert (
        "16.7% of their tokens are words that the model does not know"
        in (document["reference"]["description"])
    )
    assert (
        "does not know"
        not in compare(["greedy"], reference=["the cat"])["reference"]["description"]
    )


class LetterVocabulary:
    """One token a letter, none for unknown words; it keeps what it encoded."""

    padding, unknown, start, ends = None, None, None, ()
    letters = " abcdefghijklmnopqrstuvwxyz.[]ABCDEFGHIJKLMNOPQRSTUVWXYZ"

    def __init__(self):
        self.read = []

    def __len__(self):
        return len(self.letters)

    def encode(self, text):
        self.read.append(text)
        return list(map(self.letters.index, text))

    def decode(self, ids):
        return "".join(self.letters[i] for i in ids)


def test_a_scorer_without_an_unknown_word_reads_human_text_without_such_words():
    size = len(LetterVocabulary.letters)
    scorer = ToyModel([f"w{i}" for i in range(size - 2)], logits=np.zeros(size), end=False)
    scorer.vocabulary = LetterVocabulary()
    document = compare(["greedy"], reference=["the cat barked", "the dog sat"], scorer=scorer)
    assert "and of what a second scorer and" in document["reference"]["description"]
    assert "the cat" in scorer.vocabulary.read
    assert not any("[UNK]" in text for text in scorer.vocabulary.read if "cat" in text)
