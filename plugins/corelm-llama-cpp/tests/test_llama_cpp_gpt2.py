"""A model of corelm, exported to GGUF: in corelm, in corelm with llama.cpp, and in llama.cpp."""

import numpy as np
import pytest
from small_models import LLAMA_OPTIONS

import corelm
from corelm.interop.testing import tiny_gpt2

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")
pytest.importorskip("gguf", reason="pip install gguf")

import llama_cpp as llama
from corelm_llama_cpp import LlamaCppModel, LlamaCppVocabulary, as_logits_processor

SAMPLER = "repetition_penalty(penalty=1.2) | min_p(p=0.02) | temperature(t=0.9)"
PROMPTS = ["This movie", "the good", "This film was a bad film and the"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2") / "tiny")


@pytest.fixture(scope="module")
def file(folder):
    from corelm.bundles import Bundle
    from corelm.models.export import export

    return export(Bundle.read(folder), "gguf", folder.with_name("tiny.gguf"))


def test_the_logits_and_tokens_are_those_of_corelm(folder, file):
    ours, theirs = corelm.load(folder), LlamaCppModel(file)
    for prompt in PROMPTS:
        ids = ours.vocabulary.encode(prompt)
        assert theirs.vocabulary.encode(prompt) == ids
        a, b = (model.start([ids]).next_logits() for model in (ours, theirs))
        np.testing.assert_allclose(a, b, atol=1e-2)  # llama.cpp's GELU is in half precision
    assert theirs.vocabulary.start == ours.vocabulary.start
    assert theirs.context_length == ours.context_length


def test_the_text_is_the_same_in_llama_cpp(file):
    model = LlamaCppModel(file)
    llm = llama.Llama(str(file), verbose=False, **LLAMA_OPTIONS)
    processor = as_logits_processor(SAMPLER, seed=2, vocabulary=LlamaCppVocabulary(llm))
    for prompt in PROMPTS:
        answer = llm(
            prompt,
            max_tokens=20,
            temperature=0,
            logits_processor=llama.LogitsProcessorList([processor]),
            stopping_criteria=processor.raise_error,
        )
        [text] = corelm.generate(model, prompt, sampler=SAMPLER, length=20, seed=2)
        # llama-cpp-python leaves out bytes that are no characters, which corelm replaces.
        assert answer["choices"][0]["text"] == text.text.replace("\N{REPLACEMENT CHARACTER}", "")
    llm.close()


def test_padding_is_never_drawn(folder, file):
    padding = corelm.load(folder).vocabulary.padding
    vocabulary = LlamaCppModel(file).vocabulary
    assert (vocabulary.padding, vocabulary.unknown, vocabulary.unused) == (padding, None, ())
    processor = as_logits_processor("uniform", vocabulary=vocabulary)
    result = processor(np.array([5]), np.zeros(len(vocabulary), np.float32))
    assert np.flatnonzero(np.isneginf(result)).tolist() == [padding]
