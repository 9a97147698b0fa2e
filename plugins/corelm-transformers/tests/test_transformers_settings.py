"""The preset `transformers`, and 400 random settings, against the engine's own processors."""

import numpy as np
import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
from corelm_transformers.caller import EndTokens
from tiny_transformers import ENGINE
from transformers import GenerationConfig

import corelm

TRIALS, SIZE, PROMPT = 400, 120, 5
ENDS = [3, 9]
VALUES = {
    "temperature": (0.3, 1.0, 1.7),
    "top_k": (0, 1, 5, 50),
    "top_p": (0.2, 0.9, 1.0),
    "min_p": (0.0, 0.02, 0.3),
    "typical_p": (0.3, 0.9, 1.0),
    "epsilon_cutoff": (0.0, 0.001, 0.02),
    "eta_cutoff": (0.0, 0.002, 0.05),
    "repetition_penalty": (0.8, 1.0, 1.4),
    "no_repeat_ngram_size": (0, 1, 2, 3),
    "min_new_tokens": (0, 4, 30),
    "suppress_tokens": (None, [5, 7]),
    "bad_words_ids": (None, [[5], [6]]),
    "sequence_bias": (None, [[[5], 2.5], [[8], -3.0]]),
    "do_sample": (True, True, True, False),
}


def of_the_engine(settings, logits, tokens, prompt=PROMPT, ends=None):
    """Return (batch, vocabulary) probabilities that `generate` draws from."""
    config = GenerationConfig(**settings, eos_token_id=ends)
    config = ENGINE._prepare_generation_config(config)[0]
    ENGINE._prepare_special_tokens(config, device="cpu")
    processors = ENGINE._get_logits_processor(config, input_ids_seq_length=prompt, device="cpu")
    scores = processors(torch.from_numpy(tokens), torch.from_numpy(logits.copy()))
    if not config.do_sample:
        return np.eye(logits.shape[1])[scores.argmax(-1)]
    return torch.softmax(scores.double(), -1).numpy()


@pytest.mark.slow
def test_random_settings_are_those_of_the_engine():
    rng, wrong = np.random.default_rng(36), []
    for _ in range(TRIALS):
        chosen = [key for key in VALUES if key == "do_sample" or rng.random() < 0.4]
        settings = {key: VALUES[key][rng.integers(len(VALUES[key]))] for key in chosen}
        logits = (rng.normal(size=SIZE) * rng.uniform(0.3, 5)).astype(np.float32)
        tokens = rng.integers(0, rng.integers(2, 20), rng.integers(PROMPT, 30))
        sampler = corelm.from_settings(settings, "transformers").sampler
        past = corelm.Context.of(
            tokens[None], prompt_length=PROMPT, vocabulary=EndTokens(ENDS), vocabulary_size=SIZE
        )
        ours = corelm.softmax(sampler(logits[None], past))
        theirs = of_the_engine(settings, logits[None], tokens[None], ends=ENDS)
        difference = np.abs(ours - theirs).max()
        if difference > 1e-5:
            wrong.append((settings, str(sampler), float(difference)))
    assert not wrong


# ---- the preset ----


@pytest.fixture(scope="module")
def cases():
    """Random distributions from sharp to flat, and contexts that repeat themselves."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.1, 8, (1000, 1))
    logits = (rng.normal(size=(1000, 2000)) * spread).astype(np.float32)
    return logits, rng.integers(0, 40, (1000, 30))


def test_the_defaults_are_those_of_the_engine(cases):
    ours = corelm.sampling_distribution(corelm.preset("transformers"), *cases)
    np.testing.assert_allclose(
        ours, of_the_engine({"do_sample": True}, *cases, prompt=1), atol=1e-5
    )
    assert ((ours > 0).sum(axis=1) == 50).all()


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
    ours = corelm.sampling_distribution(chain, *cases)
    settings = {"do_sample": True} | {field: EDITS[field][2] for field in fields}
    expected = of_the_engine(settings, *cases, prompt=1)
    same = (np.abs(ours - expected) <= 1e-5).all(axis=1)
    # A sum or a probability at the very threshold may round to either side in single precision.
    assert same.mean() >= 0.998, f"{(~same).sum()} of 1000 differ"
