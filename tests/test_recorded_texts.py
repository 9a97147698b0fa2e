"""The texts of a recorded set of seeds, samplers, decoders and batches stay the same.

`python tests/test_recorded_texts.py` records them again, for a change that is meant to change them.
The kernels decide the last bits of a logit, so the set is that of builds with kernels.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from compiled_kernels import needs_kernels

import corelm
from corelm.cli.output.describe import example_expression
from corelm.runs import plugins

RECORDED = Path(__file__).with_name("recorded_texts.json")
CHAINS = (
    "greedy",
    "stochastic",
    "uniform",
    "temperature(t=0.2)",
    "temperature(t=0.7)",
    "temperature(t=1.5)",
    "dynamic_temperature(t_min=0.5, t_max=1.5)",
    "top_k(k=40)",
    "top_p(p=0.9)",
    "min_p(p=0.05)",
    "typical(p=0.9)",
    "epsilon(epsilon=0.001)",
    "eta(epsilon=0.001)",
    "top_n_sigma(n=1.0)",
    "xtc(probability=0.5)",
    "mirostat(tau=5.0)",
    "quadratic(factor=0.3)",
    "min_p(p=0.05) | adaptive_p(target=0.3)",
    "top_h(h=0.4)",
    "top_a(a=0.2)",
    "tail_free(z=0.95)",
    "repetition_penalty(penalty=1.2)",
    "presence_penalty(penalty=0.5)",
    "frequency_penalty(penalty=0.5)",
    "dry(multiplier=0.8)",
    "no_repeat_ngram(n=3)",
    "logit_bias(bias={'movie': 2.0})",
    "ban(words=('movie', 'film'))",
    "min_length(n=20)",
    "top_p(p=0.9) | temperature(t=0.7)",
    "temperature(t=0.7) | top_p(p=0.9)",
    "repetition_penalty(penalty=1.1) | dry(multiplier=0.8) | top_k(k=50) | min_p(p=0.02) | "
    "temperature(t=1.2)",
)
"""Expressions that are recorded as they stand here, whatever the docstrings' examples are."""
DECODED = ("temperature(t=0.7)", "top_p(p=0.9)", "top_k(k=20) | temperature(t=1.2)")
DECODERS = ("beam", "best_of", "contrastive", "speculative")


def _samplers() -> list[str]:
    """Return the chains, and the docstring's example of each built-in sampler that none has."""
    names = {name for chain in CHAINS for name in re.findall(r"\b[a-z]\w*(?=\(|$)", chain)}
    offers = [
        offer
        for offer in plugins.registry().offers("corelm_samplers")
        if offer.source.distribution == "corelm"
    ]
    others = [example_expression(o.value, o.name) for o in offers if o.name not in names]
    return [*CHAINS, *others]


def _runs() -> dict[str, dict[str, Any]]:
    """Return the arguments of each run, by a name."""
    runs: dict[str, dict[str, Any]] = {}
    for sampler in _samplers():
        runs[f"{sampler}, alone"] = {"sampler": sampler, "length": 40, "n": 1, "seed": 1}
        runs[f"{sampler}, 3 texts"] = {"sampler": sampler, "length": 30, "n": 3, "seed": 2}
    for sampler in DECODED:
        runs[f"{sampler}, 20 texts"] = {"sampler": sampler, "length": 20, "n": 20, "seed": 3}
        runs[f"{sampler}, long"] = {"sampler": sampler, "length": 230, "n": 2, "seed": 5}
        for decoder in DECODERS:
            arguments = {"sampler": sampler, "length": 25, "n": 2, "seed": 4}
            runs[f"{sampler}, {decoder}"] = {**arguments, "decoder": decoder}
    return runs


def _digest(model: corelm.LanguageModel, decoder: str | None = None, **arguments: Any) -> str:
    """Return a fingerprint of the tokens of a run."""
    chosen = None if decoder is None else plugins.registry().decoder(decoder)()
    texts = corelm.generate(model, "This movie", decoder=chosen, **arguments)
    return hashlib.sha256(json.dumps([text.tokens for text in texts]).encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def model() -> corelm.LanguageModel:
    return corelm.load("imdb")


@pytest.fixture(scope="module")
def recorded() -> dict[str, str]:
    found: dict[str, str] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return found


@pytest.mark.packages
@needs_kernels
@pytest.mark.parametrize("decoder", ["ancestral", *DECODERS])
def test_the_texts_are_the_recorded_ones(model, recorded, decoder):
    runs = {
        name: run for name, run in _runs().items() if run.get("decoder", "ancestral") == decoder
    }
    digests = {name: _digest(model, **run) for name, run in runs.items()}
    assert digests == {name: recorded.get(name) for name in runs}


def test_the_set_has_about_200_texts(recorded):
    assert set(recorded) == set(_runs()), "record them: python tests/test_recorded_texts.py"
    assert sum(run["n"] for run in _runs().values()) >= 200


if __name__ == "__main__":
    imdb = corelm.load("imdb")
    digests = {name: _digest(imdb, **run) for name, run in _runs().items()}
    RECORDED.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
