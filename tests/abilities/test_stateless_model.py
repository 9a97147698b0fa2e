"""A model in ten lines, with nothing but its hook, works everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

import corelm
from corelm.errors import ModelOutputError, PluginError, UsageError
from corelm.registry.models import lifted
from corelm.testing import LAWS, ToyModel

TOY = ToyModel(end=False)


class Letters:
    """A vocabulary of three letters, with what a vocabulary must have."""

    def __len__(self):
        return 3

    def encode(self, text):
        return ["abc".index(letter) for letter in text]

    def decode(self, ids):
        return "".join("abc"[i] for i in ids)


class Cycle:
    """The ten lines: likely the next letter of the alphabet."""

    vocabulary = Letters()
    context_length = 4

    def next_token_distribution(self, tokens):
        p = np.full((len(tokens), 3), 0.125)
        p[np.arange(len(tokens)), (np.asarray(tokens)[:, -1] + 1) % 3] = 0.75
        return p


def test_a_text_that_it_has_no_tokens_for_is_refused_in_a_sentence():
    with pytest.raises(UsageError, match="the model has no tokens for 'x': substring not found"):
        corelm.generate(Cycle(), "x", sampler="greedy", length=1)


class Array(Letters):
    """A vocabulary whose encode returns an array."""

    def encode(self, text):
        return np.array(super().encode(text))


class Ends(Letters):
    """A vocabulary that says how a text ends, and nothing of padding."""

    ends = (2,)


def cycle(vocabulary):
    """Return a `Cycle` with another vocabulary."""
    model = Cycle()
    model.vocabulary = vocabulary
    return model


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("decode", None, "Cycle needs vocabulary.decode"),
        ("start", 3, "Cycle.vocabulary.start holds (3,); ids are 0 to 2"),
    ],
)
def test_a_member_that_a_vocabulary_lacks_is_named(member, value, message):
    vocabulary = Letters()
    setattr(vocabulary, member, value)
    with pytest.raises(PluginError) as error:
        corelm.generate(cycle(vocabulary), "a", sampler="greedy", length=1)
    assert str(error.value) == f"not a model: {message}"


def test_a_session_of_another_kind_is_refused():
    model = Cycle()
    model.start = lambda *arguments: None
    with pytest.raises(ModelOutputError, match="start returned None, without next_logits"):
        corelm.generate(model, "a", sampler="greedy", length=1)


def test_an_encoding_may_be_an_array():
    assert corelm.generate(cycle(Array()), "ab", sampler="greedy", length=2)[0].text == "ca"


def test_a_vocabulary_may_have_ends_alone():
    [text] = corelm.generate(cycle(Ends()), "a", sampler="greedy", length=5)
    assert (text.tokens, text.finish_reason) == ([1, 2], "end")


class HookOf:
    """The hook of a model alone, without its sessions."""

    def __init__(self, model):
        self.vocabulary, self.context_length = model.vocabulary, model.context_length
        self.next_token_distribution = model.next_token_distribution


@pytest.mark.packages
def test_it_writes_explains_scores_and_is_compared():
    assert corelm.generate(Cycle(), "ab", sampler="greedy", length=4)[0].text == "cabc"
    explanation = corelm.explain(Cycle(), "ab", "temperature(t=0.5)")
    assert explanation.stages[0].entropy == pytest.approx(0.75 * np.log(4 / 3) + 0.25 * np.log(8))
    report = corelm.compare(Cycle(), ["greedy", "stochastic"], prompts="ab", n=4, length=3)
    assert [entry["sampler"] for entry in report.to_dict()["samplers"]] == ["greedy", "stochastic"]
    assert len(list(corelm.stream(Cycle(), "a", sampler="greedy", length=9))) == 9  # two windows


@pytest.mark.parametrize("sampler", ["top_p(p=0.9)", "mirostat", "frequency_penalty(penalty=0.5)"])
def test_it_has_the_texts_of_the_same_model_with_sessions(sampler):
    asked = {"sampler": sampler, "length": 12, "n": 5, "seed": 3}
    texts = [g.text for g in corelm.generate(HookOf(TOY), "the cat", **asked)]
    assert texts == [g.text for g in corelm.generate(TOY, "the cat", **asked)]


@pytest.mark.parametrize("law", LAWS["model"], ids=lambda law: law.__name__)
def test_what_it_is_lifted_to_obeys_the_laws_of_models(law):
    law(HookOf(TOY))


def test_a_model_with_sessions_is_not_changed():
    assert lifted(TOY) is TOY


def test_a_plugin_offers_one(installed_plugin, run):
    code = (
        "import corelm, numpy as np\n"
        "class Model:\n"
        "    context_length = 8\n"
        "    def __init__(self): self.vocabulary = self\n"
        "    def __len__(self): return 2\n"
        "    def encode(self, text): return [0] * len(text)\n"
        "    def decode(self, ids): return ''.join('xy'[i] for i in ids)\n"
        "    def next_token_distribution(self, tokens): return np.full((len(tokens), 2), 0.5)\n"
        "@corelm.hookimpl\n"
        "def corelm_models(): return {'xy': Model}\n"
    )
    installed_plugin("corelm-xy", {"xy": "corelm_xy"}, code)
    written = run("sample", "x", "--model", "xy", "--length", "6", "--seed", "1", "--json")
    assert written.code == 0, written.err
    assert set(json.loads(written.out)["texts"][0]["text"]) <= {"x", "y"}
