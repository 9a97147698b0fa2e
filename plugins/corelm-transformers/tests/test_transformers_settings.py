"""400 random settings against transformers' own processors, as `generate` makes them."""

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


def of_the_engine(settings, logits, tokens):
    """Return (vocabulary,) probabilities that `generate` draws from."""
    config = GenerationConfig(**settings, eos_token_id=ENDS)
    config = ENGINE._prepare_generation_config(config)[0]
    ENGINE._prepare_special_tokens(config, device="cpu")
    processors = ENGINE._get_logits_processor(config, input_ids_seq_length=PROMPT, device="cpu")
    scores = processors(torch.from_numpy(tokens[None]), torch.from_numpy(logits[None].copy()))[0]
    if not config.do_sample:
        return np.eye(SIZE)[int(scores.argmax())]
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
        ours = corelm.softmax(sampler(logits[None], past))[0]
        difference = np.abs(ours - of_the_engine(settings, logits, tokens)).max()
        if difference > 1e-5:
            wrong.append((settings, str(sampler), float(difference)))
    assert not wrong
