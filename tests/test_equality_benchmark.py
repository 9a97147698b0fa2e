"""The comparison of samplers in transformers with corelm, small: everything is the same."""

from __future__ import annotations

import pytest
from benchmark_scripts import script

pytest.importorskip("transformers", minversion="5.18", reason="pip install transformers")
pytest.importorskip("torch", reason="pip install torch")
pytest.importorskip("corelm_transformers", reason="pip install ./plugins/corelm-transformers")

SAMPLERS = ("repetition_penalty(penalty=1.5)", "mirostat(tau=3.0)", "top_p(p=0.9)")


@pytest.fixture(scope="module")
def equality():
    """The script as a module."""
    return script("equality")


@pytest.mark.parametrize(
    "case",
    [
        "padded batch",
        "many ends",
        "second generation",
        "prompt lookup",
        "engine's penalty first",
        "engine's penalty replaced",
    ],
)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_texts_and_probabilities_are_the_same(equality, case, name):
    cell = equality.measured(name, case, SAMPLERS)
    assert not cell.differing
    assert cell.same == cell.texts >= 2


def test_a_difference_is_found(equality, monkeypatch):
    monkeypatch.setattr(equality, "SEED", 8)
    own = equality.own
    monkeypatch.setattr(equality, "own", lambda engine, prompts, _: own(
        engine, prompts, equality.corelm.sampler("top_k(k=3)") | equality.Recorded()))  # fmt: skip
    assert equality.measured("gpt2", "padded batch", SAMPLERS[-1:]).differing


def test_every_sampler_is_compared(equality):
    assert {"top_p", "xtc", "dry"} <= {each.partition("(")[0] for each in equality.every_sampler()}
