"""Prompts that are the beginnings of human texts: differences from human text are paired."""

from __future__ import annotations

import json

import numpy as np
import pytest
from documents import TEXTS, compare

import corelm
from corelm.bundles import WordVocabulary
from corelm.errors import UsageError
from corelm.questions.scoring import score
from corelm.testing import ToyModel

TOPICS, WORDS, LENGTH = 16, 6, 12


def chain():
    """A chain whose texts keep to the topic of their prompt, and a prompt of each topic.

    The topics differ in surprisal: their words are from nearly certain to equally likely.
    """
    rng, size = np.random.default_rng(5), TOPICS * WORDS
    logits = np.full((size + 2, size + 2), -40.0)
    for topic in range(TOPICS):
        block = slice(2 + topic * WORDS, 2 + (topic + 1) * WORDS)
        logits[block, block] = rng.normal(0, 3 * topic / TOPICS, (WORDS, WORDS))
    words = [f"w{i}" for i in range(size)]
    return ToyModel(words, logits, end=False), words[::WORDS]


def written(model, prompts, seed, sampler="stochastic"):
    """A text for each prompt that a sampler wrote, with its prompt."""
    return [
        prompt + text.text
        for index, prompt in enumerate(prompts)
        for text in corelm.generate(
            model, prompt, sampler=sampler, length=LENGTH, seed=seed, prompt_index=index
        )
    ]


@pytest.fixture(scope="module")
def model_and_prompts():
    return chain()


def continued(model_and_prompts, samplers=("stochastic",), human_seed=7, **asked):
    """A report on human texts that are the model's own."""
    model, prompts = model_and_prompts
    given = {"n": 2, "length": LENGTH, "prompts": None, "prompts_from_reference": 1, **asked}
    given.setdefault("reference", written(model, prompts, human_seed))
    return compare(samplers, model=model, **given)


def unpaired(own, human, figure):
    """The width of the interval of a difference if both texts were independent."""
    return np.hypot(*(np.ptp(each["ci95"][figure]) for each in (own, human)))


# A known truth: human texts that the model itself has written


@pytest.mark.slow
def test_the_difference_from_the_models_own_texts_is_paired_by_prompt(model_and_prompts):
    report = continued(model_and_prompts)
    [entry], human = report["samplers"], report["reference"]["generated_texts"]
    own, found = entry["generated_texts"], entry["differences"]["generated_texts"]["surprisal"]
    assert found["value"] == pytest.approx(own["surprisal"] - human["surprisal"])
    low, high = found["ci95"]
    assert low < 0 < high
    assert high - low < unpaired(own, human, "surprisal") / 2


@pytest.mark.slow
def test_a_sampler_that_is_not_the_source_is_told_from_it(model_and_prompts):
    report = continued(model_and_prompts, ["temperature(t=2.0)", "stochastic"], n=8)
    low, high = report["samplers"][0]["differences"]["generated_texts"]["surprisal"]["ci95"]
    assert 0 < low < high
    assert report["closest"] == ["stochastic"]


@pytest.mark.long
def test_the_paired_intervals_hold_the_truth(model_and_prompts):
    """Of 24 intervals with a coverage of 95 %, fewer than 20 hold the truth once in 170 times.

    A coverage of 70 % is found in 89 of 100 runs, where fewer than 33 of 40 found it in 94.
    """
    held = 0
    for study in range(24):
        report = continued(model_and_prompts, n=1, seed=study, human_seed=1000 + study)
        differences = report["samplers"][0]["differences"]["generated_texts"]
        low, high = differences["surprisal"]["ci95"]
        held += low <= 0 <= high
    assert held >= 20


# The prompts and the human row


def test_human_text_is_what_follows_the_prompts(model_and_prompts):
    report = continued(model_and_prompts, n=1)
    header, human = report["header"], report["reference"]
    assert header["prompts"] == model_and_prompts[1]
    assert header["contexts"]["positions"] == TOPICS * LENGTH
    assert header["contexts"]["description"] == "16 texts given, after their first token"
    assert (human["generated_texts"]["n"], human["generated_texts"]["units"]) == (TOPICS, TOPICS)
    assert human["generated_texts"]["tokens"] == TOPICS * LENGTH
    assert report["warnings"] == []


@pytest.mark.slow
def test_figures_of_sets_are_compared_at_an_equal_number_of_texts(model_and_prompts):
    one, two = (continued(model_and_prompts, n=n)["samplers"][0] for n in (1, 2))
    assert one["differences"]["generated_texts"]["distinct_2"]["ci95"] is not None
    assert "distinct_2" not in two["differences"]["generated_texts"]
    assert "rep_2" in two["differences"]["generated_texts"]


@pytest.mark.slow
def test_several_seeds_and_decoders_are_paired_too(model_and_prompts):
    report = continued(model_and_prompts, ["stochastic", "beam(width=2)"], n=1, seeds=[1, 2])
    for entry in report["samplers"]:
        found = entry["differences"]["generated_texts"]["surprisal"]
        assert found["value"] is not None
        assert found["ci95"] is not None


@pytest.mark.slow
def test_perplexity_and_figures_of_sets_over_seeds_are_paired_by_prompt(model_and_prompts):
    """The topics differ much more than the texts of one topic: pairing makes intervals narrow."""
    report = continued(model_and_prompts, n=1, seeds=[1, 2, 3])
    [entry], human = report["samplers"], report["reference"]["generated_texts"]
    own, differences = entry["generated_texts"], entry["differences"]["generated_texts"]
    for name, most in (("perplexity", 0.5), ("distinct_1", 0.9)):
        found = differences[name]
        assert found["value"] == pytest.approx(own[name] - human[name])
        low, high = found["ci95"]
        assert low <= 0 <= high, name
        assert high - low < most * unpaired(own, human, name), name


@pytest.mark.slow
def test_a_second_scorer_reads_the_prompt_and_scores_what_follows(model_and_prompts):
    model, _ = model_and_prompts
    report = continued(model_and_prompts, scorer=model)
    human = report["reference"]["generated_texts"]
    assert human["scorer_surprisal"] == pytest.approx(human["surprisal"])
    assert "scorer_surprisal" in report["samplers"][0]["differences"]["generated_texts"]


# Texts that give no prompt


WORDS_OF_TOY = ("and", "cat", "dog", "mat", "on", "ran", "sat", "saw", "the", "under")


@pytest.mark.parametrize(
    ("more", "spelled", "note"),
    [
        (["the cat", "the cat ran", "the", "the dog saw"], "words",
         "4 of 14 human texts give no prompt of 2 tokens and are left out (2 too short, "
         "2 with the beginning of an earlier one)"),
        (["zebra the cat", "the mat zebra sat"], "words+punctuation",
         "2 of 12 human texts give no prompt of 2 tokens and are left out (1 with unknown or "
         "divided words in it, 1 with the beginning of an earlier one)"),
        (["the"], "words",
         "1 of 11 human texts gives no prompt of 2 tokens and is left out (1 too short)"),
    ],
)  # fmt: skip
def test_texts_without_a_prompt_of_their_own_are_left_out_and_counted(more, spelled, note):
    model = ToyModel()
    if spelled != "words":
        model.vocabulary = WordVocabulary([*model.vocabulary.words], spelled)
    report = compare(["greedy"], model=model, n=1, prompts=None, prompts_from_reference=2,
                     reference=[*(f"the {word} sat" for word in WORDS_OF_TOY), *more])  # fmt: skip
    assert note in report["warnings"]
    assert len(report["header"]["prompts"]) == len(WORDS_OF_TOY)


def test_contexts_are_the_most_prompts(model_and_prompts):
    assert len(continued(model_and_prompts, contexts=9)["header"]["prompts"]) == 9


# Wrong use


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"reference": None}, "prompts from the reference need human texts: give some as the ref"),
        ({"prompts": "w0"}, "give prompts, or prompts from the reference, but not both"),
        ({"prompts_from_reference": 0}, "prompts_from_reference must be at least 1, not 0"),
        ({"prompts_from_reference": 1.5}, "prompts_from_reference must be a whole number, not 1.5"),
        (
            {"prompts_from_reference": 13},
            "no human text has more than 13 tokens within the model's context of 100",
        ),
        ({"contexts": 7}, "paired intervals need at least 8 prompts, and the human texts give 7;"),
        ({"reference": ["w0 w1"] * 9}, "the human texts give 1; 8 of 9 human texts give no prompt"),
    ],
)
def test_wrong_use_is_refused(model_and_prompts, asked, says, tmp_path, monkeypatch):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path))  # without data
    with pytest.raises(UsageError) as refused:
        continued(model_and_prompts, **asked)
    assert says in str(refused.value)


# Prompts that come with the human texts, and messages to a chat model


class Marked(ToyModel):
    """A chat model whose template begins with two words."""

    def __init__(self):
        super().__init__()
        self.vocabulary.render_chat = lambda messages: f"the dog {messages[0]['content']}"


FOLLOWED = {"the": " cat sat", "the cat": " sat on", "a": " dog ran", "the mat": " sat"} | {
    f"{a} {b}": " sat on the" for a in ("the cat", "the dog") for b in ("sat", "ran", "on")
}


@pytest.fixture
def answers(tmp_path):
    """A file of human texts with their prompts."""
    file = tmp_path / "answers.jsonl"
    lines = [json.dumps({"prompt": prompt, "text": text}) for prompt, text in FOLLOWED.items()]
    file.write_text("\n".join([*lines, lines[0]]), "utf-8")
    return file


@pytest.mark.parametrize("chat", [False, True])
def test_samplers_continue_the_prompts_of_human_texts(answers, chat):
    model = Marked()
    document = compare(
        ["temperature(t=0.5)", "greedy"], model=model, prompts=None, reference=answers, chat=chat,
        n=20, length=4, texts="all", against=None,
    )  # fmt: skip
    header, people = document["header"], document["reference"]
    assert (header["prompts"], header["n"]) == ([*FOLLOWED], 2)
    assert header.get("settings") == ({"chat": True} if chat else None)
    assert people["same_places"]
    assert people["generated_texts"]["n"] == len(FOLLOWED)
    [note] = [each for each in document["warnings"] if "left out" in each]
    assert note.startswith("1 of 11 human texts gives no prompt and is left out")
    for at, prompt in enumerate(FOLLOWED):
        whole = f"the dog {prompt}" if chat else prompt
        expected = corelm.generate(
            model, whole, sampler="greedy", length=4, n=2, seed=1, prompt_index=at
        )
        own = [each for each in document["samplers"][1]["texts"] if each["prompt"] == prompt]
        assert [each["text"] for each in own] == [each.text for each in expected]
    nats = [score(model, [(f"the dog {p}" if chat else p, t)])[0] for p, t in FOLLOWED.items()]
    mean = sum(each.surprisal for each in nats) / sum(len(each.scored) for each in nats)
    assert people["generated_texts"]["surprisal"] == pytest.approx(mean)


def test_a_chat_model_is_compared_with_answers_alone(answers):
    for asked in ({"reference": TEXTS, "prompts": None}, {"reference": answers, "prompts": "the"}):
        with pytest.raises(UsageError, match="compared with human answers to the same messages"):
            compare(["greedy"], model=Marked(), chat=True, **asked)
    header = compare(["greedy"], model=Marked(), chat=True, prompts=None)["header"]
    assert header["prompts"] == ["Tell me a story."]
    with pytest.raises(UsageError, match="this model has no chat template"):
        compare(["greedy"], model=ToyModel(), chat=True, prompts="the")
