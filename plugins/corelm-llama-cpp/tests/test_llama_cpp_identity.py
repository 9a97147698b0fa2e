"""An edited file is another model, also where its first predictions are the same."""

import shutil

import numpy as np
import pytest

from corelm.runs import NamedModel

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")
pytest.importorskip("gguf", reason="pip install gguf")

import gguf
from corelm_llama_cpp import LlamaCppModel
from corelm_replay import receipts, verify

STUDY = """
title = "A file"
models = "gguf:tiny.gguf"
samplers = ["greedy"]
prompts = ["the"]
n = 2
length = 4
seeds = [1]

[write]
folder = "results"
forms = ["json"]
plots = []
"""
RARE = 1
"""A token of no prompt, whose embedding changes."""


@pytest.fixture
def edit(gguf_file, tmp_path, monkeypatch):
    """A function that changes a weight of `tiny.gguf` in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    file = tmp_path / "tiny.gguf"
    shutil.copy(gguf_file, file)

    def change():
        tensors = gguf.GGUFReader(file, "r+").tensors
        [embeddings] = [each.data for each in tensors if each.name == "token_embd.weight"]
        embeddings[RARE] += 1
        embeddings.flush()

    return change


def after(text):
    """Return the distribution after a text, of a model that is loaded anew."""
    model = LlamaCppModel("tiny.gguf")
    return model.next_token_distribution([model.vocabulary.encode(text)])


def test_an_edited_file_is_another_model_in_receipts(edit, call):
    before = after("the"), NamedModel.of("gguf:tiny.gguf").fingerprint()
    line = ["sample", "the", "--model", "gguf:tiny.gguf", "--length", "4", "--seed", "1"]
    assert call(*line, "--receipt", "receipt.json").code == 0
    verify = ["verify", "receipt.json", "--model", "gguf:tiny.gguf"]
    assert call(*verify).code == 0
    edit()
    np.testing.assert_array_equal(after("the"), before[0])
    assert before[1].startswith("files:")
    assert NamedModel.of("gguf:tiny.gguf").fingerprint() != before[1]
    refused = call(*verify)
    assert refused.code == 2
    assert "gguf:tiny.gguf is another model than the receipt's" in refused.err


def test_an_edited_file_is_another_model_in_studies(edit, tmp_path, call):
    (tmp_path / "study.toml").write_text(STUDY)
    assert call("study", "run", "study.toml").code == 0
    shutil.copytree("results", "first")
    for measured in (False, True):
        again = call("study", "run", "study.toml")
        assert (again.code, "0 parts measured" in again.err) == (0, not measured)
        edit()
    assert "model gguf:tiny.gguf" in call("study", "diff", "first", "results").out


def test_a_model_whose_texts_begin_with_no_token_has_receipts(gguf_file):
    model = LlamaCppModel(gguf_file)
    assert model.vocabulary.start is None
    [(_, receipt)] = receipts(model, "the", sampler="top_p(p=0.9)", length=4, seed=1)
    assert receipt.model_sha256.startswith("files:")
    assert not verify(receipt, model)
    del model.files
    assert NamedModel(model).fingerprint().startswith("distribution:")
