"""A folder for generate(custom_generate=FOLDER): what it writes, and what it refuses."""

import ast
import importlib.metadata
import sys

import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import transformers
from corelm_transformers import TransformersModel
from tiny_transformers import ENGINE, PROMPTS, TOKENIZER, encoded

import corelm
from corelm.models.export.transformers import generate_files

CHAIN = "mirostat(tau=3.0) | ban(words=('cat',))"


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A function that writes the folder of a sampler; its code is loaded in a place of its own."""
    cache = tmp_path / "modules"
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(cache))
    monkeypatch.syspath_prepend(cache)
    monkeypatch.delitem(sys.modules, "transformers_modules", raising=False)

    def write(sampler):
        for name, content in generate_files(corelm.sampler(sampler)).items():
            file = tmp_path / "folder" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return str(tmp_path / "folder")

    return write


def test_the_folder_writes_the_texts_of_corelm(exported):
    tokens = ENGINE.generate(
        **encoded(PROMPTS), custom_generate=exported(CHAIN), trust_remote_code=True,
        max_new_tokens=8, seed=7, tokenizer=TOKENIZER,
    )  # fmt: skip
    model = TransformersModel(ENGINE, TOKENIZER)
    for row, prompt in enumerate(PROMPTS):
        steps = corelm.stream(model, prompt, sampler=CHAIN, length=8, seed=7, sample=row)
        expected = [int(step.tokens[0]) for step in steps]
        assert tokens[row, -8:].tolist()[: len(expected)] == expected


def test_without_a_seed_transformers_draws(exported):
    tokens = ENGINE.generate(
        **encoded(["the"]), custom_generate=exported("top_k(k=1)"), trust_remote_code=True,
        max_new_tokens=5,
    )  # fmt: skip
    assert (
        tokens[0, -5:].tolist()
        == ENGINE.generate(**encoded(["the"]), max_new_tokens=5)[0, -5:].tolist()
    )


def test_a_machine_without_corelm_is_told_so_in_words(exported, monkeypatch):
    version = importlib.metadata.version

    def missing(name):
        if name.startswith("corelm"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ImportError, match=r"Missing requirements.*\n.*corelm"):
        ENGINE.generate(
            **encoded(["the"]), custom_generate=exported("greedy"), trust_remote_code=True
        )


@pytest.mark.parametrize(
    "word", ['"""', "'\nimport os", "{sampler}", "\\", "\u2028import os", "'); import os #"]
)
def test_no_word_of_an_expression_becomes_code(word):
    code = generate_files(corelm.sampler("ban", words=[word]))["custom_generate/generate.py"]
    tree = ast.parse(code)
    assert [type(node).__name__ for node in tree.body] == [
        "Expr", "ImportFrom", "Assign", "FunctionDef",
    ]  # fmt: skip
    assert corelm.sampler(tree.body[2].value.value) == corelm.sampler("ban", words=[word])


def test_a_streamer_receives_the_text_of_a_folder(exported):
    received = []

    class Streamer(transformers.TextStreamer):
        def on_finalized_text(self, text, stream_end=False):
            received.append((text, stream_end))

    tokens = ENGINE.generate(
        **encoded(["the"]), custom_generate=exported("top_k(k=3)"), trust_remote_code=True,
        max_new_tokens=6, seed=2, tokenizer=TOKENIZER, stop_strings=["cat"],
        streamer=Streamer(TOKENIZER, skip_prompt=True),
    )  # fmt: skip
    assert "".join(text for text, _ in received) == TOKENIZER.decode(tokens[0, 1:])
    assert received[-1][1]
