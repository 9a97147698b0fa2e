"""The same figures through corelm's server, and from the network of transformers."""

import subprocess
import sys
from pathlib import Path

import pytest

import corelm

pytestmark = pytest.mark.engines("lm_eval")

SERVER = Path(__file__).parents[2] / "corelm-serve" / "tests"
NAMES = "choices", "rolling"


def responses(results, task):
    return [sample["resps"] for sample in results["samples"][task]]


@pytest.mark.slow
def test_local_completions_has_the_figures_of_the_model_in_process(evaluate, monkeypatch):
    pytest.importorskip("corelm_serve")
    pytest.importorskip("tenacity", reason="pip install lm_eval[api]")
    monkeypatch.syspath_prepend(SERVER)
    from serve_process import serving

    here = evaluate(*NAMES, "texts", model_args="model=imdb")
    with serving("--model", "imdb", "--no-token", errors=False) as server:
        there = evaluate(
            *NAMES, "texts", model="local-completions",
            model_args={"model": "imdb", "base_url": f"{server.url}/v1/completions"},
        )  # fmt: skip
        sampled = evaluate(
            "texts", model="local-completions", gen_kwargs="do_sample=true,temperature=0.7",
            model_args={"model": "imdb", "base_url": f"{server.url}/v1/completions", "seed": 5},
        )  # fmt: skip
    assert responses(here, "texts") == responses(there, "texts")
    for name in NAMES:
        assert_equal(responses(here, name), responses(there, name), 1e-6)  # its numbers are float32
        ours, theirs = (figures(each["results"][name]) for each in (here, there))
        assert ours == pytest.approx(theirs)
    for sample in sampled["samples"]["texts"]:
        [text] = corelm.generate(
            "imdb", sample["arguments"][0][0], sampler="temperature(t=0.7)", seed=5, length=8,
            stop=".",
        )  # fmt: skip
        assert sample["resps"][0] == [text.text] * 2


@pytest.mark.slow
@pytest.mark.engines("transformers", "torch")
def test_likelihoods_of_a_model_of_transformers_are_its_own(evaluate, tmp_path):
    pytest.importorskip("corelm_transformers")
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "small"
    command = ["models", "export", "gpt2", "--to", "transformers", str(folder)]
    subprocess.run([sys.executable, "-m", "corelm", *command], check=True, capture_output=True)
    found = evaluate("rolling", model_args={"model": f"transformers:{folder}"})
    encode = corelm.load("gpt2").vocabulary.encode
    model = AutoModelForCausalLM.from_pretrained(folder)
    for sample in found["samples"]["rolling"]:
        ids = encode(sample["doc"]["before"] + sample["doc"]["choices"][0])
        with torch.no_grad():
            logits = model(torch.tensor([[1, *ids]])).logits[0, :-1].double()
        logits[:, 0] = -torch.inf  # padding is never drawn
        own = torch.log_softmax(logits, -1)[torch.arange(len(ids)), ids].sum()
        [[likelihood]] = sample["resps"]
        assert likelihood == pytest.approx(own.item(), rel=1e-5)


def figures(results):
    return {name: value for name, value in results.items() if isinstance(value, float)}


def assert_equal(ours, theirs, tolerance):
    """Compare likelihoods, and which of them are greedy, which are text in some responses."""
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one, other, strict=True):
            [a, b] = (
                [each[0]] if not isinstance(each[0], (list, tuple)) else each[0] for each in (a, b)
            )
            assert float(a[0]) == pytest.approx(float(b[0]), rel=tolerance)
            assert [str(rest) for rest in a[1:]] == [str(rest) for rest in b[1:]]
