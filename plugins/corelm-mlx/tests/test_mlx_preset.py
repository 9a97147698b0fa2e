"""The preset `mlx-lm` against mlx-lm's own chain, in the installed version."""

import numpy as np
import pytest
from tiny_mlx import mx, sample_utils

import corelm

VOCABULARY, TEXTS = 100, 1000
PENALTIES = {"repetition_penalty": 1.3, "presence_penalty": 0.4, "frequency_penalty": 0.2}
SETTINGS = {"temp": 0.8, "top_p": 0.9, "min_p": 0.03, "top_k": 12}
STAGES = {
    "repetition_penalty": ("repetition_penalty(penalty=1.0", "repetition_penalty(penalty={}"),
    "presence_penalty": ("presence_penalty(penalty=0.0", "presence_penalty(penalty={}"),
    "frequency_penalty": ("frequency_penalty(penalty=0.0", "frequency_penalty(penalty={}"),
    "temp": ("temperature(t=0.0)", "temperature(t={})"),
    "top_p": ("top_p(p=1.0)", "top_p(p={})"),
    "min_p": ("min_p(p=0.0)", "min_p(p={})"),
    "top_k": ("top_k(k=0)", "top_k(k={})"),
}
"""mlx-lm's settings, the stages of the preset at their defaults, and with another value."""


@pytest.fixture(scope="module")
def steps():
    """Return random logits and texts of 1 to 40 tokens."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=3, size=(TEXTS, VOCABULARY)).astype(np.float32)
    return [(row, random.integers(0, VOCABULARY, random.integers(1, 41))) for row in logits]


def engine_distribution(monkeypatch, logits, tokens, penalties, settings):
    """Return the probabilities that mlx-lm draws from."""
    values = mx.array(logits[None])
    for processor in sample_utils.make_logits_processors(**penalties):
        values = processor(mx.array(tokens), values)
    logprobs = values - mx.logsumexp(values, axis=-1, keepdims=True)
    # The sampler returns a token; in place of its draw, take the logits that it draws from.
    monkeypatch.setattr(
        sample_utils, "categorical_sampling", lambda logits, temp: mx.softmax(logits / temp, -1)
    )
    result = np.array(sample_utils.make_sampler(**settings)(logprobs))
    return result[0] if result.ndim == 2 else np.eye(len(logits))[result[0]]


def preset(**settings):
    """Return the preset with other values."""
    expression = corelm.presets()["mlx-lm"]
    for name, value in settings.items():
        off, on = STAGES[name]
        assert off in expression
        expression = expression.replace(off, on.format(value))
    return corelm.sampler(expression)


@pytest.mark.parametrize(
    ("penalties", "settings"),
    [
        ({}, {}),
        (PENALTIES, {}),
        ({}, SETTINGS),
        (PENALTIES, SETTINGS),
        ({}, {"temp": 1.0}),
        ({}, {"temp": 1.0, "top_p": 0.7}),
        ({}, {"temp": 1.3, "min_p": 0.1}),
        ({}, {"temp": 0.5, "top_k": 3}),
    ],
    ids=str,
)
def test_the_preset_has_the_distributions_of_mlx_lm(monkeypatch, steps, penalties, settings):
    sampler = preset(**penalties, **settings)
    for logits, tokens in steps:
        expected = engine_distribution(monkeypatch, logits, tokens, penalties, settings)
        found = corelm.sampling_distribution(sampler, logits, tokens)
        np.testing.assert_allclose(found, expected, atol=1e-5)
