"""Contexts: human texts, cut to the model's context, or texts that it draws itself."""

from __future__ import annotations

import pytest
from corelm_report.measure.contexts import Contexts, human_contexts, model_contexts
from small_models import SMALL, small_model

import corelm
from corelm.errors import UsageError
from corelm.testing import ToyModel

THE, CAT, SAT = 11, 4, 9  # ids of the toy model


def test_human_text_starts_at_its_first_token_if_the_model_marks_the_beginning():
    found = human_contexts(ToyModel(), ["the cat sat", "the"], "a fable")
    assert found == Contexts("human", "a fable", ((THE, CAT, SAT), (THE,)), (0, 0))
    assert found.positions == 4


def test_without_one_the_first_token_is_the_prompt_and_a_text_of_one_is_left_out():
    found = human_contexts(ToyModel(["a", "b"], end=False), ["a b a", "b", ""], "letters")
    assert found == Contexts("human", "letters", ((2, 3, 2),), (1,))
    assert found.positions == 2


def test_human_text_is_cut_to_the_context_of_the_model():
    model = small_model(SMALL["default"])  # context of 8
    assert human_contexts(model, ["w1 w2 " * 50], "many words").texts == ((3, 4) * 4,)


def test_unknown_words_stay():
    assert human_contexts(ToyModel(), ["the unicorn sat"], "a fable").texts == ((THE, 1, SAT),)


@pytest.mark.parametrize("texts", [[], [""], ["", "  "]])
def test_no_words_at_all(texts):
    with pytest.raises(UsageError, match=r"an empty book: none of its texts has words to measure"):
        human_contexts(ToyModel(), texts, "an empty book")


def test_drawn_texts_are_those_of_the_plain_sampler():
    model, prompts = ToyModel(), ["the", "the cat"]
    found = model_contexts(model, prompts, n=70, length=5, seed=3)
    texts = [
        text
        for index, prompt in enumerate(prompts)
        for text in corelm.generate(
            model, prompt, sampler="stochastic", n=70, length=5, seed=3, prompt_index=index
        )
    ]
    expected = [(*model.vocabulary.encode(text.prompt), *text.tokens) for text in texts]
    assert found.texts == tuple(expected)
    assert found.prompt_lengths == (1,) * 70 + (2,) * 70
    assert found.positions == sum(len(text.tokens) for text in texts)
    assert found.source == "model"
    assert found.description == "drawn from the model, seed 3"


def test_a_text_keeps_its_end_token():
    model = ToyModel()
    texts = model_contexts(model, ["the"], n=40, length=30, seed=1).texts
    ended = [text for text in texts if model.vocabulary.start in text]
    assert ended
    assert all(text.index(model.vocabulary.start) == len(text) - 1 for text in ended)


def test_a_prompt_may_be_empty():
    assert model_contexts(ToyModel(), [""], n=2, length=1, seed=1).prompt_lengths == (0, 0)


@pytest.mark.parametrize(
    "wrong", [{"prompts": []}, {"n": 0}, {"length": 0}], ids=["prompts", "n", "length"]
)
def test_nothing_to_draw(wrong):
    with pytest.raises(UsageError, match="at least one prompt, one text and one token"):
        model_contexts(ToyModel(), **({"prompts": ["the"], "n": 1, "length": 1, "seed": 1} | wrong))


def test_some_of_the_texts():
    contexts = Contexts("human", "d", ((5, 6), (7, 8, 9), (3,)), (1, 2, 0))
    assert contexts.some([2, 1]) == Contexts("human", "d", ((3,), (7, 8, 9)), (0, 2))
