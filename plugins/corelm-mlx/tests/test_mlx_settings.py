"""The preset `mlx-lm`, and 400 random settings, against mlx-lm's own processors and sampler."""

import numpy as np
import pytest
from tiny_mlx import mx, sample_utils

import corelm

TRIALS, SIZE = 400, 120
PENALTIES = {
    "repetition_penalty": (0.0, 0.8, 1.4),
    "repetition_context_size": (0, 3, 20),
    "presence_penalty": (0.0, 0.6),
    "presence_context_size": (0, 3, 20),
    "frequency_penalty": (-0.2, 0.0, 0.4),
    "frequency_context_size": (0, 3, 20),
    "logit_bias": ({}, {5: 2.5, 8: -3.0}),
}
SAMPLERS = {
    "temperature": (0.0, 0.5, 1.0, 1.7),
    "top_p": (0.0, 0.2, 0.9, 1.0),
    "min_p": (0.0, 0.02, 0.3),
    "top_k": (0, 1, 5, 50),
    "xtc_probability": (0.0, 1.0),  # between them the engine tosses a coin
    "xtc_threshold": (0.02, 0.1, 0.4),
    "xtc_special_tokens": ([], [2]),
}


def of_the_engine(monkeypatch, settings, logits, tokens):
    """Return (vocabulary,) probabilities that mlx-lm draws from, as its server does."""
    penalties = {key: value for key, value in settings.items() if key in PENALTIES}
    samplers = {key: value for key, value in settings.items() if key in SAMPLERS}
    values = mx.array(logits[None])
    for processor in sample_utils.make_logits_processors(**penalties):
        values = processor(mx.array(tokens), values)
    logprobs = values - mx.logsumexp(values, axis=-1, keepdims=True)
    # The sampler returns a token; in place of its draw, take the logits that it draws from.
    monkeypatch.setattr(
        sample_utils, "categorical_sampling", lambda logits, temp: mx.softmax(logits / temp, -1)
    )
    sampler = sample_utils.make_sampler(temp=samplers.pop("temperature", 0.0), **samplers)
    result = np.array(sampler(logprobs))
    return result[0] if result.ndim == 2 else np.eye(len(logits))[result[0]]


@pytest.mark.slow
def test_random_settings_are_those_of_the_engine(monkeypatch):
    rng, wrong, every = np.random.default_rng(36), [], PENALTIES | SAMPLERS
    for _ in range(TRIALS):
        chosen = [key for key in every if rng.random() < 0.5]
        settings = {key: every[key][rng.integers(len(every[key]))] for key in chosen}
        logits = (rng.normal(size=SIZE) * rng.uniform(0.3, 5)).astype(np.float32)
        logits[2] += 4.0  # the special token, often the likeliest
        tokens = rng.integers(0, rng.integers(2, 20), rng.integers(1, 40))
        sampler = corelm.from_settings(settings, "mlx-lm").sampler
        ours = corelm.sampling_distribution(sampler, logits, tokens)
        difference = np.abs(ours - of_the_engine(monkeypatch, settings, logits, tokens)).max()
        if difference > 1e-5:
            wrong.append((settings, str(sampler), float(difference)))
    assert not wrong


# ---- the preset ----

STAGES = {
    "repetition_penalty": ("repetition_penalty(penalty=1.0", "repetition_penalty(penalty={}"),
    "presence_penalty": ("presence_penalty(penalty=0.0", "presence_penalty(penalty={}"),
    "frequency_penalty": ("frequency_penalty(penalty=0.0", "frequency_penalty(penalty={}"),
    "temperature": ("temperature(t=0.0)", "temperature(t={})"),
    "top_p": ("top_p(p=1.0)", "top_p(p={})"),
    "min_p": ("min_p(p=0.0)", "min_p(p={})"),
    "top_k": ("top_k(k=0)", "top_k(k={})"),
}
"""mlx-lm's settings, the stages of the preset at their defaults, and with another value."""
THREE = {"repetition_penalty": 1.3, "presence_penalty": 0.4, "frequency_penalty": 0.2}
FOUR = {"temperature": 0.8, "top_p": 0.9, "min_p": 0.03, "top_k": 12}


@pytest.fixture(scope="module")
def steps():
    """Return random logits and texts of 1 to 40 tokens."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=3, size=(1000, 100)).astype(np.float32)
    return [(row, random.integers(0, 100, random.integers(1, 41))) for row in logits]


def preset(**settings):
    """Return the preset with other values."""
    expression = corelm.presets()["mlx-lm"]
    for name, value in settings.items():
        off, on = STAGES[name]
        assert off in expression
        expression = expression.replace(off, on.format(value))
    return corelm.sampler(expression)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        THREE,
        FOUR,
        THREE | FOUR,
        {"temperature": 1.0},
        {"temperature": 1.0, "top_p": 0.7},
        {"temperature": 1.3, "min_p": 0.1},
        {"temperature": 0.5, "top_k": 3},
    ],
    ids=str,
)
def test_the_preset_has_the_distributions_of_mlx_lm(monkeypatch, steps, settings):
    sampler = preset(**settings)
    for logits, tokens in steps:
        ours = corelm.sampling_distribution(sampler, logits, tokens)
        expected = of_the_engine(monkeypatch, settings, logits, tokens)
        np.testing.assert_allclose(ours, expected, atol=1e-5)
