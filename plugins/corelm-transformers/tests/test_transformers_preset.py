"""corelm's preset `transformers` against the engine's own processors with its defaults."""

import numpy as np
import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
from tiny_transformers import ENGINE
from transformers import GenerationConfig

import corelm

CASES, SIZE = 1000, 2000


@pytest.fixture(scope="module")
def cases():
    """Random distributions from sharp to flat, and contexts that repeat themselves."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.1, 8, (CASES, 1))
    logits = (rng.normal(size=(CASES, SIZE)) * spread).astype(np.float32)
    return logits, rng.integers(0, 40, (CASES, 30))


def of_the_engine(settings, logits, tokens):
    config = ENGINE._prepare_generation_config(GenerationConfig(do_sample=True, **settings))[0]
    processors = ENGINE._get_logits_processor(config, input_ids_seq_length=1, device="cpu")
    scores = processors(torch.from_numpy(tokens), torch.from_numpy(logits.copy()))
    return torch.softmax(scores, -1).numpy()


def test_the_defaults_are_those_of_the_engine(cases):
    found = corelm.sampling_distribution(corelm.preset("transformers"), *cases)
    np.testing.assert_allclose(found, of_the_engine({}, *cases), atol=1e-5)
    assert ((found > 0).sum(axis=1) == 50).all()


EDITS = {
    "repetition_penalty": ("repetition_penalty", {"penalty": 1.3}, 1.3),
    "no_repeat_ngram_size": ("no_repeat_ngram", {"n": 2}, 2),
    "temperature": ("temperature", {"t": 0.7}, 0.7),
    "top_k": ("top_k", {"k": 9}, 9),
    "top_p": ("top_p", {"p": 0.9}, 0.9),
    "min_p": ("min_p", {"p": 0.05}, 0.05),
    "typical_p": ("typical", {"p": 0.9}, 0.9),
    "epsilon_cutoff": ("epsilon", {"epsilon": 0.01}, 0.01),
    "eta_cutoff": ("eta", {"epsilon": 0.01}, 0.01),
}
"""For each stage of the preset: the field of the engine, the sampler, and a value of both."""


@pytest.mark.parametrize("fields", [[field] for field in EDITS] + [list(EDITS)], ids="-".join)
def test_every_stage_stands_at_the_place_of_the_engine(fields, cases):
    """An edited preset and the engine with the same settings keep the same tokens."""
    names = [EDITS[field][0] for field in fields]
    values = {EDITS[field][0]: EDITS[field][1] for field in fields}
    stages = corelm.preset("transformers").stages
    assert set(names) <= {stage.name for stage in stages}
    edited = [
        corelm.sampler(stage.name, **values[stage.name]) if stage.name in names else stage
        for stage in stages
    ]
    chain = corelm.Chain(tuple(edited))
    found = corelm.sampling_distribution(chain, *cases)
    expected = of_the_engine({field: EDITS[field][2] for field in fields}, *cases)
    same = (np.abs(found - expected) <= 1e-5).all(axis=1)
    # A sum or a probability at the very threshold may round to either side in single precision.
    assert same.mean() >= 0.998, f"{(~same).sum()} of {CASES} differ"
