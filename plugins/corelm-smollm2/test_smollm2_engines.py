"""SmolLM2's weights in single precision have one distribution in each engine."""

import os

import numpy as np
import pytest

import corelm

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


def test_the_weights_in_single_precision_have_one_distribution(tmp_path):
    file, single = model_file(), tmp_path / "single.gguf"
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype, parameters.allow_requantize = llama.LLAMA_FTYPE_ALL_F32, True
    assert not llama.llama_model_quantize(os.fsencode(file), os.fsencode(single), parameters)
    source = {"gguf_file": file.name}
    network = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
    models = LlamaCppModel(single), TransformersModel(network, tokenizer), corelm.load("smollm2")
    for prompt in PROMPTS:
        ids = [model.vocabulary.encode(prompt) for model in models]
        assert ids[0] == ids[1] == ids[2]
        one, same, quantized = (
            corelm.softmax(model.start(ids[:1]).next_logits().astype(np.float64))
            for model in models
        )
        np.testing.assert_allclose(one, same, atol=1e-5)
        # llama.cpp rounds the activations to 8 bits where the weights have four.
        assert 1e-3 < np.abs(one - quantized).sum() / 2 < 0.1
