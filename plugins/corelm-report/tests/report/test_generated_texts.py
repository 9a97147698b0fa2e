"""The texts of a sampler, the details of their tokens, and their figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from documents import carrier, compare

import corelm
from corelm import Sampler
from corelm.bundles import WordVocabulary
from corelm.testing import ToyModel

P = (0.4, 0.3, 0.2, 0.1)
WORDS = ["north", "south", "east", "west"]
COMPASS = ToyModel(WORDS, logits=[9.0, 9.0, *np.log(P)], end=False)
"""A model of four words that always have the probabilities above."""
CHAIN = "top_k(k=3) | top_p(p=0.7) | temperature(t=0.5)"
"""0.4 0.3 0.2 0.1 becomes 16/25 9/25 0 0."""
OF_STEPS = {"surprisal": "model_surprisal", "sampler_surprisal": "surprisal", "entropy": "entropy"}
"""The measurements of a token in a report, and those of a step of `generate`."""


def row_of(model=None, sampler="stochastic", prompt="the", **asked):
    """The row of one sampler, with all its texts."""
    settings = {"length": 10, "n": 3, "texts": "all", **asked}
    [row] = compare([sampler], model=model or ToyModel(), prompts=prompt, **settings)["samplers"]
    return row


def columns(row, name):
    """A measurement of each token, by text."""
    return [text["by_token"][name] for text in row["texts"]]


# Drawing


def test_texts_of_several_samplers_and_prompts_in_one_batch_are_those_that_they_write_alone():
    samplers = ["temperature(t=0.7)", "mirostat(tau=2)", "top_p(p=0.9) | repetition_penalty"]
    prompts = ["the", "the mat and the dog", "the cat", "and"]
    made = compare(samplers, prompts=prompts, n=7, length=10, seed=3, texts="all")
    for row in made["samplers"]:
        alone = [
            text
            for index, prompt in enumerate(prompts)
            for text in corelm.generate(ToyModel(), prompt, sampler=row["sampler"], length=10, n=7,
                                        seed=3, prompt_index=index)
        ]  # fmt: skip
        for kept, text in zip(row["texts"], alone, strict=True):
            assert (kept["prompt"], kept["text"]) == (text.prompt, text.text)
            tokens = kept["by_token"]
            assert tokens["token"] == text.tokens
            assert tokens["text"] == [step.text for step in text.steps]
            for name, of_step in OF_STEPS.items():
                expected = [getattr(step, of_step) for step in text.steps]
                assert tokens[name] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_samplers_use_the_same_random_numbers():
    samplers = ["stochastic", "temperature(t=1.0)", "temperature(t=0.9)"]
    rows = compare(samplers, n=20, length=10, texts="all")["samplers"]
    plain, same, cooler = (columns(row, "token") for row in rows)
    assert plain == same != cooler
    assert sum(a[0] == b[0] for a, b in zip(plain, cooler, strict=True)) >= 15


def test_surprisals_and_entropies_are_exact():
    row = row_of(COMPASS, CHAIN, "north", n=1, length=30)
    [tokens] = columns(row, "token")
    assert set(tokens) == {2, 3}  # north and south
    [surprisal], [entropy], [model_entropy] = (
        columns(row, name) for name in ("surprisal", "entropy", "model_entropy")
    )
    assert surprisal == pytest.approx([-math.log(P[token - 2]) for token in tokens])
    q = [16 / 25, 9 / 25]
    assert entropy == pytest.approx([-sum(x * math.log(x) for x in q)] * 30)
    assert model_entropy == pytest.approx([-sum(x * math.log(x) for x in P)] * 30)


def test_the_end_token_is_measured_but_not_part_of_the_text():
    end = ToyModel().vocabulary.start
    texts = row_of(length=40, n=30)["texts"]
    ended = [text for text in texts if text["finish_reason"] == "end"]
    assert len(ended) > 5
    for text in texts:
        tokens = text["by_token"]
        assert len({len(column) for column in tokens.values()}) == 1
        assert (tokens["token"][-1] == end) == (text in ended) == (len(tokens["token"]) < 40)
        assert end not in tokens["token"][:-1]
        assert "[end]" not in text["text"]
    reasons = [text["finish_reason"] for text in row_of(length=4, n=5)["texts"]]
    assert reasons == ["length", "length", "length", "end", "length"]


# Details of tokens


def test_every_token_of_the_first_samples_has_details():
    row = row_of(COMPASS, CHAIN, "north", length=20, n=7)
    assert [bool(text["tokens"]) for text in row["texts"]] == [True] * 5 + [False] * 2
    for text in row["texts"][:5]:
        assert "".join(token["token"] for token in text["tokens"]) == text["text"]
        for token, one in zip(text["by_token"]["token"], text["tokens"], strict=True):
            assert one["rank"] == token - 1
            assert one["p"] == pytest.approx(P[token - 2])
            assert one["q"] == pytest.approx([16 / 25, 9 / 25][token - 2])
            assert one["entropy"] == pytest.approx(text["by_token"]["entropy"][0])
            words, shares = zip(*one["alternatives"], strict=True)
            assert words == (" north", " south", " east", " west")
            assert shares == pytest.approx(P)


class Decodes:
    """A vocabulary that says no more of its tokens than the contract asks for."""

    padding, unknown, start, ends = 0, 1, None, ()

    def __len__(self):
        return 4

    def encode(self, text):
        return [2]

    def decode(self, ids):
        return "".join(["?", "-", "ab", "c"][token] for token in ids)


def test_details_of_a_vocabulary_that_can_only_decode():
    model = ToyModel(["ab", "c"], logits=[9.0, 9.0, *np.log([0.75, 0.25])], end=False)
    model.vocabulary = Decodes()
    for token in row_of(model, prompt="ab", n=1, length=3)["texts"][0]["tokens"]:
        assert token["token"] in ("ab", "c")
        assert [text for text, _ in token["alternatives"]][:2] == ["ab", "c"]


def test_the_likeliest_and_the_ranks_of_equals_are_by_id():
    model = ToyModel(list("abcdefgh"), logits=[9, 9, 0, 1, 0, 2, 1, 0, 0, 0], end=False)
    row = row_of(model, "uniform", "a", n=1, length=80)
    tokens = row["texts"][0]["tokens"]
    assert [word for word, _ in tokens[0]["alternatives"]] == [" d", " b", " e", " a", " c"]
    ranks = {token["token"]: token["rank"] for token in tokens}
    assert ranks == {f" {word}": i + 1 for i, word in enumerate("dbeacfgh")}


def test_the_end_has_a_name():
    texts = [text["tokens"] for text in row_of(length=40, n=5)["texts"]]
    assert {tokens[-1]["token"] for tokens in texts if len(tokens) < 40} == {"[end]"}
    words = {word for tokens in texts for token in tokens for word, _ in token["alternatives"]}
    assert "[end]" in words
    assert "" not in words


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("it", [" so", ".", " it", ' "']), ('it so " so.', [" So", " .", " It", '"'])],
)
def test_words_are_spelled_as_in_their_text(prompt, expected):
    vocabulary = ["", "[UNK]", "so", ".", "it", '"']
    model = ToyModel(vocabulary[2:], logits=[9, 9, 2, 1.5, 1, 0.5], end=False)
    model.vocabulary = WordVocabulary(vocabulary, "words+punctuation")
    [token] = row_of(model, "greedy", prompt, n=1, length=1)["texts"][0]["tokens"]
    assert [word for word, _ in token["alternatives"]] == expected


# Figures


def test_figures_are_those_of_the_tokens():
    """Means over words, without the ends of texts; the model's own band is 0.5 to 2 nats."""
    row = row_of(carrier(), n=30, length=20)
    own, words = row["generated_texts"], {}
    for name in ("surprisal", "entropy", "model_entropy"):
        words[name] = [
            column[: len(column) - (text["finish_reason"] == "end")]
            for column, text in zip(columns(row, name), row["texts"], strict=True)
        ]
    flat = {name: np.concatenate(texts) for name, texts in words.items()}
    assert own["tokens"] == sum(map(len, columns(row, "token")))
    assert own["surprisal"] == pytest.approx(flat["surprisal"].mean())
    assert own["perplexity"] == pytest.approx(math.exp(flat["surprisal"].mean()))
    assert own["ci95"]["perplexity"] == [math.exp(end) for end in own["ci95"]["surprisal"]]
    assert own["model_entropy"] == pytest.approx(flat["model_entropy"].mean())
    outside = (flat["model_entropy"] < 0.5) | (flat["model_entropy"] > 2)
    assert own["outside_human_band"] == pytest.approx(outside.mean())
    positions = np.concatenate([np.arange(len(text)) for text in words["entropy"]])
    slope = np.polyfit(positions, flat["model_entropy"], 1)[0]
    assert own["entropy_drift"] == pytest.approx(slope, rel=1e-5)
    for place in own["by_position"]:
        for name in ("entropy", "model_entropy"):
            values = [
                text[place["position"]] for text in words[name] if len(text) > place["position"]
            ]
            assert place["n"] == len(values)
            assert place[name] == pytest.approx(np.mean(values))


def test_every_figure_has_its_interval_around_it():
    figures = row_of(carrier(), n=30, length=20)["generated_texts"]
    counts = {"n", "tokens", "units", "set_size", "texts_used", "ci95", "by_position", "by_seed"}
    assert figures["ci95"].keys() == figures.keys() - counts
    ends = {name: each for name, each in figures["ci95"].items() if each is not None}
    assert not {"constraint_cost", "model_calls", "tokens_read"} & ends.keys()
    assert len(ends) >= 12  # few texts repeat phrases of three or four words
    for name, (low, high) in ends.items():
        assert low <= figures[name] <= high, name
        assert low < high or name in ("unknown", "outside_human_band"), name


def test_undefined_figures_are_none():
    figures = row_of(sampler="greedy", n=1, length=1)["generated_texts"]
    values = {name for name, value in figures.items() if isinstance(value, int | float)}
    defined = {"surprisal", "perplexity", "loops", "distinct_1", "compression", "unknown"}
    defined |= {"model_entropy", "bits_per_byte", "units", "set_size", "n", "tokens"}
    assert values == defined
    assert figures["outside_human_band"] is None  # there is no human band
    same = row_of(sampler="greedy", n=10)["generated_texts"]
    assert same["self_bleu_4"] == pytest.approx(1)
    assert same["ci95"]["surprisal"] is None  # one text tells nothing of others


def test_a_huge_perplexity_is_finite():
    model = ToyModel(["a", "b"], logits=[9, 9, 0, -3000], end=False)
    figures = row_of(model, "uniform", "a", n=12, length=6)["generated_texts"]
    assert figures["surprisal"] > 1000
    assert math.isfinite(figures["perplexity"])
    assert all(map(math.isfinite, figures["ci95"]["perplexity"]))


# Several samplers


class Restores(Sampler):
    """A sampler that draws padding, which the model never draws."""

    def __call__(self, logits, context):
        restored = np.full_like(logits, -np.inf)
        restored[:, 0] = 0
        return restored if context.position == 9 else logits


@pytest.mark.parametrize("prompts", ["the", ["the", "the dog sat"]])
def test_a_failing_sampler_stops_no_other_in_its_batch(prompts):
    """It fails where it draws: the contexts are shorter."""
    asked = {"prompts": prompts, "n": 4, "length": 12, "reference": ["the cat sat"]}
    failed, other = compare([Restores(), "top_p(p=0.9)"], **asked)["samplers"]
    [alone] = compare(["top_p(p=0.9)"], **asked)["samplers"]
    assert "restored token" in failed["error"]["message"]
    assert "at step 9" in failed["error"]["message"]
    assert other["generated_texts"] == alone["generated_texts"]
