"""The examples of the README and of the docstrings, and corelm's own networks in KerasHub."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras_hub", reason="pip install keras-hub")

import corelm
from corelm.bundles import Bundle
from corelm.interop.testing import tiny_gpt2
from corelm.models.export import export

README = Path(__file__).parents[1] / "README.md"
PARTIAL = "\N{REPLACEMENT CHARACTER}\n"
"""The end of a text that ends in the middle of a character: corelm leaves such a part out."""
pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras's files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """corelm's tiny GPT-2, and the same model as a preset of KerasHub."""
    path = tmp_path_factory.mktemp("models")
    export(Bundle.read(tiny_gpt2(path / "tiny")), "keras_hub", path / "model")
    return path


def test_the_programs_of_the_readme_write_one_text(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = {}
    for program in re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL):
        exec(program, names)
    first, second = capsys.readouterr().out.split("This movie")[1:]
    assert len(first) > 5
    assert first.rstrip(PARTIAL) == second.rstrip(PARTIAL)


def test_a_model_of_corelm_writes_the_same_text_in_keras_hub(folder):
    ours, theirs = corelm.load(folder / "tiny"), corelm.load(f"keras_hub:{folder / 'model'}")
    ids = ours.vocabulary.encode("This movie is good, caf\u00e9!")
    assert theirs.vocabulary.encode("This movie is good, caf\u00e9!") == ids
    expected = ours.start([ids]).next_logits()
    np.testing.assert_allclose(theirs.start([ids]).next_logits(), expected, atol=1e-4)
    chain = "repetition_penalty(penalty=1.2) | top_k(k=50) | temperature(t=0.8)"
    texts = [
        corelm.generate(model, "This movie", sampler=chain, length=80, n=3, seed=5)
        for model in (ours, theirs)
    ]
    assert [text.tokens for text in texts[0]] == [text.tokens for text in texts[1]]
