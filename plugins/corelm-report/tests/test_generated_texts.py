"""The texts of a sampler, the details of their tokens, and their figures."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from corelm_report import schema
from corelm_report.document.schema import fault
from corelm_report.measure.counted import CountedModel
from corelm_report.measure.generated_texts import draw, draw_together
from corelm_report.measure.text_records import DETAILED, kept_texts
from corelm_report.measure.text_set import TextSet
from documents import texts

import corelm
from corelm import Sampler
from corelm.bundles import WordVocabulary
from corelm.errors import SamplerError
from corelm.generation.generate import BATCH
from corelm.runs import Endings, Strategy, Texts
from corelm.testing import ToyModel

P = (0.4, 0.3, 0.2, 0.1)
NORTH, SOUTH, EAST, WEST = 2, 3, 4, 5
CHAIN = "top_k(k=3) | top_p(p=0.7) | temperature(t=0.5)"
"""0.4 0.3 0.2 0.1 becomes 16/25 9/25 0 0."""


@pytest.fixture
def compass():
    """A model of four words that always have the probabilities above."""
    words = ["north", "south", "east", "west"]
    return ToyModel(words, logits=[9.0, 9.0, *np.log(P)], end=False)


def drawn(model=None, sampler="stochastic", length=10, samples=range(3), seed=1, **other):
    prompt = other.pop("prompt", "the")
    return draw(model or ToyModel(), texts(prompt, sampler, length, seed, **other), samples)


def detailed(records):
    return [text.to_dict() for text in kept_texts(records, TextSet(records).of_text, DETAILED)]


# Drawing


def test_texts_are_those_of_generate():
    records = drawn(sampler="temperature(t=0.7)", samples=range(5))
    texts = corelm.generate(ToyModel(), "the", sampler="temperature(t=0.7)", length=10, n=5, seed=1)
    assert [record["text"] for record in records] == [text.text for text in texts]
    assert [record["sample"] for record in records] == [0, 1, 2, 3, 4]


def test_any_division_gives_the_same_records_bit_for_bit():
    whole = drawn(samples=range(BATCH + 6))
    parts = [drawn(samples=some) for some in (range(3), range(3, 50), range(50, BATCH + 6))]
    assert whole == [record for part in parts for record in part]


def test_samplers_use_the_same_random_numbers():
    plain = drawn(sampler="stochastic", samples=range(20))
    same = drawn(sampler="temperature(t=1.0)", samples=range(20))
    cooler = drawn(sampler="temperature(t=0.9)", samples=range(20))
    assert plain == same
    alike = [a["tokens"][0] == b["tokens"][0] for a, b in zip(plain, cooler, strict=True)]
    assert sum(alike) >= 15
    assert cooler != plain


def test_surprisals_and_entropies_are_exact(compass):
    [record] = drawn(compass, CHAIN, length=30, samples=[0], prompt="north")
    expected = [-math.log(P[token - NORTH]) for token in record["tokens"]]
    assert record["surprisal"] == pytest.approx(expected)
    q = [16 / 25, 9 / 25]
    assert record["entropy"] == pytest.approx([-sum(x * math.log(x) for x in q)] * 30)
    assert record["model_entropy"] == pytest.approx([-sum(x * math.log(x) for x in P)] * 30)
    assert set(record["tokens"]) == {NORTH, SOUTH}


def test_the_end_token_is_measured_but_not_part_of_the_text():
    end = ToyModel().vocabulary.start
    records = drawn(length=40, samples=range(30))
    ended = [record for record in records if len(record["tokens"]) < 40]
    assert len(ended) > 5
    for record in ended:
        assert end not in record["tokens"]
        measured = (record["surprisal"], record["entropy"], record["model_entropy"])
        assert [len(values) for values in measured] == [len(record["tokens"]) + 1] * 3
        assert "[end]" not in record["text"]
        assert record["finish_reason"] == "end"
    reasons = [text["finish_reason"] for text in detailed(drawn(length=4, samples=range(5)))]
    assert reasons == ["length", "length", "length", "end", "length"]


def test_unknown_words_are_drawn_when_asked_for_and_counted():
    model = ToyModel(["a"], logits=[0.0, 1.0, 0.0], end=False)
    some = drawn(model, length=50, samples=range(4), prompt="a", unknown=True)
    assert all(record["unknown"] == record["tokens"].count(1) > 0 for record in some)
    assert summary(some)["unknown"] == sum(record["unknown"] for record in some) / 200
    none = drawn(model, length=50, samples=range(4), prompt="a")
    assert summary(none)["unknown"] == 0


def test_records_are_plain_documents():
    records = drawn()
    read = json.loads(json.dumps(records, allow_nan=False))
    assert read == records
    assert summary(read, (0.5, 2.0)) == summary(records, (0.5, 2.0))


# Failures


class Fails(Sampler):
    """A sampler that works for some steps."""

    def __call__(self, logits, context):
        if context.position == 3:
            raise ValueError("no more")
        return logits


class Restores(Sampler):
    """A sampler that draws padding, which the model never draws."""

    def __call__(self, logits, context):
        restored = np.full_like(logits, -np.inf)
        restored[:, 0] = 0
        return restored if context.position == 2 else logits


def test_an_error_has_the_step_of_the_failure():
    with pytest.raises(SamplerError, match="failed at step 3: ValueError: no more"):
        draw(ToyModel(), texts("the", Fails(), 10), range(3))


def test_a_sampler_that_restores_a_token_is_refused():
    with pytest.raises(
        SamplerError, match=r"restores restored token \d, which is never drawn, at step 2"
    ):
        draw(ToyModel(), texts("the", Restores(), 10), range(3))


# Details of tokens


def test_the_first_samples_by_index_have_details():
    assert [len(record["details"]) > 0 for record in drawn(samples=range(DETAILED + 2))] == [
        *([True] * DETAILED),
        False,
        False,
    ]
    later = drawn(samples=range(DETAILED - 1, DETAILED + 1))
    assert [text["sample"] for text in detailed(later)] == [DETAILED - 1]


def test_every_token_has_details(compass):
    [record] = drawn(compass, CHAIN, samples=[0], length=20, prompt="north")
    [text] = detailed([record])
    assert (text["prompt"], text["sample"], text["text"]) == ("north", 0, record["text"])
    assert "".join(token["token"] for token in text["tokens"]) == record["text"]
    for token, one in zip(record["tokens"], text["tokens"], strict=True):
        assert one["rank"] == token - NORTH + 1
        assert one["p"] == pytest.approx(P[token - NORTH])
        assert one["q"] == pytest.approx({NORTH: 16 / 25, SOUTH: 9 / 25}[token])
        assert one["entropy"] == pytest.approx(record["entropy"][0])
        words, shares = zip(*one["alternatives"], strict=True)
        assert words == (" north", " south", " east", " west")
        assert shares == pytest.approx(P)
        assert one["p"] in shares


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
    [record] = drawn(model, samples=[0], length=3, prompt="ab")
    for token in record["details"]:
        assert token["token"] in ("ab", "c")
        assert [text for text, _ in token["alternatives"]][:2] == ["ab", "c"]


def test_the_five_likeliest_the_lowest_id_first_on_ties():
    model = ToyModel(list("abcdefgh"), logits=[9, 9, 0, 1, 0, 2, 1, 0, 0, 0], end=False)
    [record] = drawn(model, "top_k(k=1)", samples=[0], length=1, prompt="a")
    [token] = record["details"]
    assert [word for word, _ in token["alternatives"]] == [" d", " b", " e", " a", " c"]


def test_ranks_of_equals_are_by_id():
    model = ToyModel(list("abcd"), logits=[9, 9, 0, 1, 0, 0], end=False)
    [record] = drawn(model, "uniform", samples=[0], length=60, prompt="a")
    ranks = {token["token"]: token["rank"] for token in record["details"]}
    assert ranks == {" b": 1, " a": 2, " c": 3, " d": 4}


def test_the_end_has_a_name():
    records = drawn(length=40, samples=range(DETAILED))
    last = [text["tokens"][-1]["token"] for text in detailed(records) if len(text["tokens"]) < 40]
    assert last
    assert set(last) == {"[end]"}
    words = {
        word
        for text in detailed(records)
        for token in text["tokens"]
        for word, _ in token["alternatives"]
    }
    assert "[end]" in words
    assert "" not in words


def test_words_are_spelled_as_in_their_text():
    vocabulary = ["", "[UNK]", "so", ".", "it", '"']
    model = ToyModel(vocabulary[2:], logits=[9, 9, 2, 1.5, 1, 0.5], end=False)
    model.vocabulary = WordVocabulary(vocabulary, "words+punctuation")
    [begun] = drawn(model, "greedy", samples=[0], length=1, prompt="it")
    assert [word for word, _ in begun["details"][0]["alternatives"]] == [" so", ".", " it", ' "']
    [ended] = drawn(model, "greedy", samples=[0], length=1, prompt='it so " so.')
    assert [word for word, _ in ended["details"][0]["alternatives"]] == [" So", " .", " It", '"']


# Figures


def summary(records, human_band=None):
    return TextSet(records, human_band).summary().to_dict()


def test_the_figures_follow_the_schema():
    figures = summary(drawn(samples=range(8)), (0.5, 2.0))
    assert fault(figures, "GeneratedTexts") == ""
    for text in detailed(drawn()):
        assert fault(text, "KeptText") == ""


def test_means_are_over_tokens(compass):
    records = drawn(compass, samples=range(9), prompt="north")
    records[0]["surprisal"] = records[0]["surprisal"][:2]  # a text that ended early
    figures = summary(records)
    values = [nats for record in records for nats in record["surprisal"]]
    assert figures["tokens"] == len(values) == 82
    assert figures["surprisal"] == pytest.approx(np.mean(values))
    assert figures["perplexity"] == pytest.approx(math.exp(np.mean(values)))
    assert figures["ci95"]["perplexity"] == [math.exp(end) for end in figures["ci95"]["surprisal"]]


def record(**changes):
    """A text worked out by hand."""
    plain = {
        "prompt": "the",
        "seed": 1,
        "sample": 0,
        "text": "a b a b a b",
        "tokens": [3, 4] * 3,
        "end": None,
        "bytes": 11,
        "model_calls": None,
        "tokens_read": None,
        "unknown": 0,
        "surprisal": [1.0] * 6,
        "entropy": [0.5] * 6,
        "model_entropy": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "constraint_cost": None,
        "details": [],
    }
    return {**plain, **changes}


def test_figures_by_hand():
    short = record(tokens=[5, 6], text="c d", surprisal=[1.0, 4.0])
    short |= {"entropy": [0.5, 0.5], "model_entropy": [2.0, 4.0]}
    figures = summary([record(), short], (1.5, 4.0))
    assert figures["n"] == 2
    assert figures["tokens"] == 8
    assert figures["surprisal"] == 11 / 8
    assert figures["model_entropy"] == 27 / 8
    assert figures["outside_human_band"] == 3 / 8
    assert figures["distinct_1"] == 4 / 8
    assert figures["rep_2"] == pytest.approx((3 / 5 + 0) / 2)
    assert figures["rep_4"] == pytest.approx(1 / 3)  # of the one text that is long enough
    assert figures["loops"] == 0.5
    positions = [0, 1, 2, 3, 4, 5, 0, 1]
    entropies = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 2.0, 4.0]
    assert figures["entropy_drift"] == pytest.approx(np.polyfit(positions, entropies, 1)[0])


def test_entropies_by_position():
    short = record(entropy=[1.5, 0.5], model_entropy=[2.0, 4.0])
    positions = summary([record(), short])["by_position"]
    assert positions[0] == {"position": 0, "n": 2, "entropy": 1.0, "model_entropy": 1.5}
    assert positions[1] == {"position": 1, "n": 2, "entropy": 0.5, "model_entropy": 3.0}
    assert positions[5] == {"position": 5, "n": 1, "entropy": 0.5, "model_entropy": 6.0}
    assert len(positions) == 6


def test_every_figure_has_its_interval_around_it():
    figures = summary(drawn(samples=range(30), length=20), (0.5, 1.5))
    counts = {"n", "tokens", "units", "set_size", "texts_used", "ci95", "by_position", "by_seed"}
    assert figures["ci95"].keys() == figures.keys() - counts
    for name in ("constraint_cost", "model_calls", "tokens_read"):
        assert figures["ci95"].pop(name) is None  # there is neither a mask nor a decoder
    known = {name: ends for name, ends in figures["ci95"].items() if ends is not None}
    assert len(known) >= 12  # few texts repeat phrases of three or four words
    for name, (low, high) in known.items():
        assert low <= figures[name] <= high, name
        if name != "unknown":
            assert low < high, name


def test_without_a_human_band_nothing_is_outside_it():
    figures = summary(drawn())
    assert figures["outside_human_band"] is None
    assert figures["ci95"]["outside_human_band"] is None


def test_a_deterministic_sampler_writes_one_text():
    figures = summary(drawn(sampler="greedy", samples=range(10)))
    assert figures["self_bleu_4"] == pytest.approx(1)
    assert figures["ci95"]["surprisal"] is None  # one text tells nothing of others


@pytest.mark.parametrize(
    ("length", "samples", "known"),
    [
        (0, 2, {"loops", "self_bleu_4"}),
        (10, 0, set()),
        (1, 1, {"surprisal", "perplexity", "loops", "distinct_1", "compression"}),
    ],
)
def test_undefined_figures_are_none(length, samples, known):
    figures = summary(drawn(length=length, samples=range(samples), sampler="greedy"))
    assert fault(figures, "GeneratedTexts") == ""
    json.dumps(figures, allow_nan=False)
    values = {name: figures[name] for name in schema()["$defs"]["GeneratedTexts"]["required"]}
    some = {name for name, value in values.items() if value is not None}
    assert some == known | {"n", "tokens"}


def test_a_huge_perplexity_is_finite():
    figures = summary(
        [
            record(surprisal=[800.0] * (6 - i % 2), tokens=[3] * (6 - i % 2), sample=i)
            for i in range(8)
        ]
    )
    assert figures["surprisal"] == 800
    assert math.isfinite(figures["perplexity"])
    assert all(map(math.isfinite, figures["ci95"]["perplexity"]))


# Several prompts


@pytest.mark.parametrize("sampler", ["temperature(t=0.7)", "mirostat(tau=2)", "greedy"])
def test_prompts_of_different_lengths_in_one_batch_have_their_records_alone(sampler):
    prompts = ["the", "the mat and the dog", "the cat", "and"]
    texts = Texts("", Strategy.of(sampler), 10, 7, 3, Endings())
    [batch] = texts.batches(prompts, independent=True)
    alone = [
        record
        for index, prompt in enumerate(prompts)
        for record in drawn(
            sampler=sampler, prompt=prompt, samples=range(7), seed=3, prompt_index=index
        )
    ]
    assert draw_together(ToyModel(), [tuple(batch)]) == [{"value": alone}]


def test_a_sampler_that_fails_among_several_prompts_is_named():
    texts = Texts("", Strategy.of("temperature(t=0.7)"), 10, 2, 3, Endings())
    [batch] = texts.batches(["the", "the dog sat"])
    broken = tuple((replace(part, strategy=Strategy(Restores())), some) for part, some in batch)
    failed, done = draw_together(ToyModel(), [broken, tuple(batch)])
    assert "restored token" in failed["error"]["message"]
    assert len(done["value"]) == 4, "the other sampler's texts are written"


# Several samplers


def test_texts_of_several_samplers_in_one_batch_have_their_records_alone():
    samplers = ["temperature(t=0.7)", "mirostat(tau=2)", "top_p(p=0.9) | repetition_penalty"]
    together = draw_together(
        ToyModel(), [((texts("the", sampler, 10, 1), range(3)),) for sampler in samplers]
    )
    assert together == [{"value": drawn(sampler=sampler)} for sampler in samplers]


def test_a_report_makes_few_more_passes_than_its_longest_text_has_tokens():
    model, n, length = CountedModel(ToyModel(end=False), 1), 12, 40
    samplers = ["greedy", "stochastic", "top_p(p=0.9)", "temperature(t=0.7)", "min_p(p=0.1)"]
    report = corelm.compare(model, samplers, n=n, length=length, contexts=n, seed=1)
    assert not report.failed
    # The contexts, then all texts together: 60 fit into a batch.
    assert model.calls <= 1.1 * 2 * length


def test_a_failing_sampler_stops_no_other_in_its_batch():
    report = corelm.compare(ToyModel(), [Restores(), "top_p(p=0.9)"], n=4, length=10, seed=1)
    alone = corelm.compare(ToyModel(), ["top_p(p=0.9)"], n=4, length=10, seed=1)
    [reason] = report.failed.values()
    assert "restored token" in reason
    _, whole = report.to_dict()["samplers"]
    [other] = alone.to_dict()["samplers"]
    assert whole["generated_texts"] == other["generated_texts"]
