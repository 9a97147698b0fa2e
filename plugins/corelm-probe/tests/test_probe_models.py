"""The engines compute the logits that the models are made for."""

import json

import numpy as np
import pytest
from corelm_probe.files import write_models
from corelm_probe.models import CHARACTERS, MODELS, SIZE, model_named

from corelm.errors import UnknownNameError, UsageError

PROMPTS = [[3], [4], [5, 9, 61], [94, 0, 12, 7]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    write_models(path, gguf=False)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_the_end_is_never_drawn_and_logits_have_both_signs(name):
    logits = MODELS[name].logits([[7]])[0]
    assert logits[0] <= logits[1:].min() - 2.5
    assert np.exp(logits[0] - np.logaddexp.reduce(logits)) < 1e-5


def test_the_rows_are_what_their_names_say():
    rows = {name: MODELS[name].logits([[7]])[0, 1:] for name in MODELS}
    assert len(set(rows["slope"])) == len(CHARACTERS)
    assert sorted(np.unique(rows["ties"], return_counts=True)[1]) == [1, 3, 6, 10, 30, 44]
    peaked = np.exp(rows["peaked"])
    assert peaked.max() / peaked.sum() == pytest.approx(0.9, abs=1e-6)
    assert set(rows["flat"]) == {0.0}


def test_the_last_token_decides_the_logits_of_one_model():
    last = MODELS["last"]
    assert not last.is_constant
    assert MODELS["slope"].is_constant
    a, b, c = last.logits([[3], [4], [6]])
    assert np.abs(a - b).max() > 1
    np.testing.assert_allclose(a, c, atol=1e-6)  # of the same class
    favoured = np.flatnonzero((a - last.logits([[4]])[0])[1:] > 0.5) + 1
    assert set(favoured % 3) == {0}


def test_texts_and_ids_are_one_to_one():
    model = MODELS["flat"]
    assert model.encode(model.decode(list(range(1, SIZE)))) == list(range(1, SIZE))
    with pytest.raises(ValueError, match="substring"):
        model.encode("é")


def test_a_wrong_name_and_an_existing_folder_are_refused(folder):
    with pytest.raises(UnknownNameError, match="slope"):
        model_named("slop")
    with pytest.raises(UsageError, match="already exists"):
        write_models(folder, ["flat"], gguf=False)
    assert json.loads((folder / "flat" / "config.json").read_text())["vocab_size"] == SIZE


@pytest.mark.engines("transformers", "torch")
@pytest.mark.parametrize("name", MODELS)
def test_transformers_computes_the_logits(folder, name):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = str(folder / name)
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert tokenizer(CHARACTERS)["input_ids"] == list(range(1, SIZE))
    assert tokenizer.decode(list(range(1, SIZE))) == CHARACTERS
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    for prompt in PROMPTS:
        results = model(torch.tensor([prompt])).logits[0, -1].detach().numpy()
        check_logits(results, MODELS[name], prompt)


@pytest.mark.engines("llama_cpp", "gguf")
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_the_logits(tmp_path, name):
    import llama_cpp

    write_models(tmp_path, [name], gguf=True)
    options = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "logits_all": True}
    llm = llama_cpp.Llama(str(tmp_path / f"{name}.gguf"), verbose=False, **options)
    ids = llm.tokenize(CHARACTERS.encode(), add_bos=True)
    assert ids == list(range(1, SIZE))
    assert llm.detokenize(ids).decode() == CHARACTERS
    for prompt in PROMPTS:
        llm.reset()
        llm.eval(prompt)
        check_logits(llm.scores[len(prompt) - 1], MODELS[name], prompt)
    llm.close()


@pytest.mark.engines("mlx_lm")
def test_mlx_computes_the_logits(folder):
    import mlx.core as mx
    from mlx_lm import load

    for name in ("slope", "last"):
        model, tokenizer = load(str(folder / name))
        assert tokenizer.encode("AB") == MODELS[name].encode("AB")
        for prompt in PROMPTS:
            check_logits(np.array(model(mx.array([prompt]))[0, -1]), MODELS[name], prompt)


def check_logits(results, model, prompt):
    expected = model.logits([prompt])[0]
    np.testing.assert_allclose(results, expected, atol=2e-5)
    if model.is_constant:  # exactly, so that ties are ties
        assert results.tolist() == expected.astype(np.float32).tolist()
