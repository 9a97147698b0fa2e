"""A plugin that writes into what it is passed changes nobody else's figures or texts."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import corelm
from corelm import RandomStream
from corelm.testing import ToyModel


def by_torch(array):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the array is read-only
        torch.from_numpy(array)[...] = 5


def by_numpy(array):
    base = array if array.base is None else array.base
    base.setflags(write=True)
    base[...] = 5


TORCH = pytest.param(by_torch, marks=pytest.mark.engines("torch"))
WAYS = pytest.mark.parametrize("write", [TORCH, by_numpy])


class Writing:
    """The toy model; it reads ids, and then writes into them."""

    def __init__(self, write):
        self._model, self._write = ToyModel(), write
        self.vocabulary = self._model.vocabulary
        self.context_length = self._model.context_length

    def next_token_distribution(self, tokens):
        return self._model.next_token_distribution(tokens)

    def start(self, tokens):
        session = self._model.start(np.array(tokens))
        self._write(tokens)

        def extend(tokens):
            session.extend(np.array(tokens))
            self._write(tokens)

        def select(rows):
            session.select(np.array(rows))

        return SimpleNamespace(next_logits=session.next_logits, extend=extend, select=select)


@WAYS
def test_a_model_that_writes_into_its_input_leaves_the_texts_alone(write):
    options = {"prompt": "the cat", "sampler": "repetition_penalty(penalty=1.5)", "seed": 1, "n": 5}
    found, own = (
        corelm.generate(model, length=8, **options) for model in (Writing(write), ToyModel())
    )
    assert [text.tokens for text in found] == [text.tokens for text in own]


@pytest.mark.slow
@WAYS
def test_a_model_that_writes_into_its_input_leaves_a_report_alone(write):
    options = {
        "samplers": ["top_p(p=0.9)", "dry(multiplier=1.0)"],
        "prompts": "the cat",
        "n": 9,
        "length": 6,
        "seed": 1,
        "reference": ["the cat sat on the mat", "the cat ran"] * 5,
    }
    found, own = (corelm.compare(model, **options) for model in (Writing(write), ToyModel()))
    assert found.to_csv() == own.to_csv()


class WritingDecoder(corelm.Decoder):
    """Write into everything that a decoder is passed, after the ordinary decoder's text."""

    def __call__(self, task):
        for step in corelm.Ancestral()(task):
            uniforms = task.random_stream.at(step.position)
            WRITE["write"](uniforms)
            yield step
        WRITE["write"](task.prompt)

    def next_tokens(self, task):
        WRITE["write"](task.prompt)
        return {3: 1.0}


WRITE = {"write": by_numpy}


@WAYS
def test_a_decoder_cannot_change_the_random_numbers_and_the_prompt(write, monkeypatch):
    monkeypatch.setitem(WRITE, "write", write)
    options = {"prompt": "the cat", "sampler": "top_p(p=0.9)", "seed": 1, "n": 5, "length": 8}
    found, own = (
        corelm.generate(ToyModel(), decoder=decoder, **options)
        for decoder in (WritingDecoder(), corelm.Ancestral())
    )
    assert [text.tokens for text in found] == [text.tokens for text in own]
    stream = RandomStream(1, range(3))
    before = stream.at(0).tolist()
    write(stream.at(0))
    assert stream.at(0).tolist() == before
    explained = corelm.explain(ToyModel(), "the cat", "greedy", decoder=WritingDecoder())
    assert explained.tokens == tuple(ToyModel().vocabulary.encode("the cat"))
