"""SmolLM2's weights in single precision have one distribution, and one text, in each engine."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest

import corelm
from corelm.cli.output.describe import example
from corelm.registry.registry import registry

pytest.importorskip("corelm_smollm2", reason="pip install ./plugins/corelm-smollm2")
pytest.importorskip("accelerate", reason="pip install accelerate")
pytest.importorskip("corelm_transformers", reason="pip install ./plugins/corelm-transformers")

import llama_cpp as llama
import torch
from corelm_llama_cpp import LlamaCppModel
from corelm_smollm2 import model_file
from corelm_transformers import TransformersModel
from transformers import AutoModelForCausalLM, AutoTokenizer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
PROMPTS = ["The capital of France is", "Once upon a time, there was a", "def fibonacci(n):\n"]
GRAMMARS = ("choice", "json_schema", "lark", "regex")
FLAT = ("adaptive_p", "uniform")
"""Samplers under which 49,152 tokens are about equally likely: rounding decides which is drawn."""


@pytest.fixture(scope="module")
def network():
    """Return the network of transformers in single precision, and its tokenizer."""
    file = model_file()
    source = {"gguf_file": file.name}
    quantized = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
    config = quantized.config.to_dict()
    config.pop("quantization_config", None)  # with it the network can't be saved
    network = type(quantized)(type(quantized.config).from_dict(config)).eval()
    network.load_state_dict(quantized.state_dict())
    return network, AutoTokenizer.from_pretrained(file.parent, **source)


@pytest.fixture(scope="module")
def transformers_model(network):
    return TransformersModel(*network)


@pytest.fixture(scope="module")
def llama_model(tmp_path_factory):
    single = tmp_path_factory.mktemp("llama") / "single.gguf"
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype, parameters.allow_requantize = llama.LLAMA_FTYPE_ALL_F32, True
    file = os.fsencode(model_file())
    assert not llama.llama_model_quantize(file, os.fsencode(single), parameters)
    return LlamaCppModel(single)


@pytest.fixture(scope="module")
def mlx_model(network, tmp_path_factory):
    pytest.importorskip("corelm_mlx", reason="pip install ./plugins/corelm-mlx")
    pytest.importorskip("mlx_lm", reason="pip install mlx-lm")
    folder = tmp_path_factory.mktemp("mlx")
    for part in network:
        part.save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    # mlx-lm 0.32 doesn't read it where transformers 5 writes it, and takes 10,000.
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    file.write_text(json.dumps(config))
    return corelm.load(f"mlx:{folder}")


def distribution(model, prompt):
    logits = model.start([model.vocabulary.encode(prompt)]).next_logits()
    return corelm.softmax(logits.astype(np.float64))


def samplers():
    """Return an expression of each installed sampler but the grammars."""
    offers = registry().offers("corelm_samplers")
    return [str(example(each.value, each.name)) for each in offers if each.name not in GRAMMARS]


def tokens(model, sampler):
    asked = {"sampler": sampler, "length": 6, "seed": 3}
    return tuple(corelm.generate(model, PROMPTS[1], **asked)[0].tokens)


def other_texts(model, others):
    """Return the samplers with which two models write different texts, and how many there are."""
    each = samplers()
    return [one for one in each if tokens(model, one) != tokens(others, one)], len(each)


def test_the_weights_in_single_precision_have_one_distribution(transformers_model, llama_model):
    quantized = corelm.load("smollm2")
    for prompt in PROMPTS:
        models = llama_model, transformers_model, quantized
        assert len({tuple(model.vocabulary.encode(prompt)) for model in models}) == 1
        one, same, rounded = (distribution(model, prompt) for model in models)
        np.testing.assert_allclose(one, same, atol=1e-5)
        # llama.cpp rounds the activations to 8 bits where the weights have four.
        assert 1e-3 < np.abs(one - rounded).sum() / 2 < 0.1


def test_each_sampler_writes_one_text_in_mlx_and_transformers(transformers_model, mlx_model):
    other, count = other_texts(transformers_model, mlx_model)
    assert (other, count >= 33) == ([], True)


def test_llama_cpp_writes_other_texts_only_where_rounding_decides(transformers_model, llama_model):
    other, count = other_texts(transformers_model, llama_model)
    assert len([one for one in other if not one.startswith(FLAT)]) <= count // 30


# Not arithmetic: each token divides its code by a probability, and rounding grows with it.
@pytest.mark.parametrize("name", ["beam", "contrastive", "stochastic_beam"])
def test_decoders_write_one_text(transformers_model, llama_model, name):
    asked = {"sampler": "stochastic", "decoder": name, "length": 6, "seed": 1}
    one, same = (
        [text.tokens for text in corelm.generate(model, PROMPTS[0], n=2, **asked)]
        for model in (transformers_model, llama_model)
    )
    assert one == same


def test_a_grammar_is_kept():
    pytest.importorskip("corelm_grammar", reason="pip install ./plugins/corelm-grammar")
    asked = {"sampler": "regex(pattern='[A-Z][a-z]{2,8} [0-9]{4}')", "length": 24, "seed": 1}
    for text in corelm.generate(corelm.load("smollm2"), "She was born in", n=4, **asked):
        assert re.fullmatch(" ?[A-Z][a-z]{2,8} [0-9]{4}", text.text)


def test_a_watermark_is_detected_with_its_key_alone():
    marks = pytest.importorskip("corelm_watermark", reason="pip install ./plugins/corelm-watermark")
    model, chain = corelm.load("smollm2"), "green_list(key={!r}, delta=4)"
    asked = {"sampler": chain.format("one"), "length": 60, "seed": 2}
    [text] = corelm.generate(model, PROMPTS[1], **asked)
    own, other = (
        marks.detect(chain.format(key), text.tokens, model.vocabulary).p_value
        for key in ("one", "two")
    )
    assert own < 1e-6 < 1e-3 < other


def test_receipts_and_replay_agree_with_the_draws():
    replay = pytest.importorskip("corelm_replay", reason="pip install ./plugins/corelm-replay")
    asked = {"sampler": "top_p(p=0.9) | temperature(t=0.8)", "length": 12, "seed": 1}
    [(_, receipt)] = replay.receipts("smollm2", PROMPTS[0], **asked)
    assert replay.verify(receipt) == []
    assert replay.verify(dataclasses.replace(receipt, seed=receipt.seed + 1))
