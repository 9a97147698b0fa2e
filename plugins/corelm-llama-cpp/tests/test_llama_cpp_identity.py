"""An edited file is another model, also where its first predictions are the same."""

import shutil

import numpy as np
import pytest

from corelm.cli.app import main
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


def test_an_edited_file_is_another_model_in_receipts(edit, capsys):
    before = after("the"), NamedModel.of("gguf:tiny.gguf").fingerprint()
    line = ["sample", "the", "--model", "gguf:tiny.gguf", "--length", "4", "--seed", "1"]
    assert main([*line, "--receipt", "receipt.json"]) == 0
    verify = ["verify", "receipt.json", "--model", "gguf:tiny.gguf"]
    assert main(verify) == 0
    capsys.readouterr()
    edit()
    np.testing.assert_array_equal(after("the"), before[0])
    assert before[1].startswith("files:")
    assert NamedModel.of("gguf:tiny.gguf").fingerprint() != before[1]
    assert main(verify) == 2
    assert "gguf:tiny.gguf is another model than the receipt's" in capsys.readouterr().err


def test_an_edited_file_is_another_model_in_studies(edit, tmp_path, capsys):
    (tmp_path / "study.toml").write_text(STUDY)
    assert main(["study", "run", "study.toml"]) == 0
    shutil.copytree("results", "first")
    capsys.readouterr()
    assert main(["study", "run", "study.toml"]) == 0
    assert "0 parts measured" in capsys.readouterr().err
    edit()
    assert main(["study", "run", "study.toml"]) == 0
    assert "0 parts measured" not in capsys.readouterr().err
    main(["study", "diff", "first", "results"])
    assert "model gguf:tiny.gguf" in capsys.readouterr().out


def test_a_model_whose_texts_begin_with_no_token_has_receipts(gguf_file):
    model = LlamaCppModel(gguf_file)
    assert model.vocabulary.start is None
    [(_, receipt)] = receipts(model, "the", sampler="top_p(p=0.9)", length=4, seed=1)
    assert receipt.model_sha256.startswith("files:")
    assert not verify(receipt, model)
    del model.files
    assert NamedModel(model).fingerprint().startswith("distribution:")
