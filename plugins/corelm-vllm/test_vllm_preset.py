"""The preset `vllm` against the defaults and the order of vLLM 0.32, as its sources state them.

`reference` restates in NumPy its documented steps: docstring of `Sampler` in
vllm/v1/sample/sampler.py, `SamplingParams` in vllm/sampling_params.py, and `SamplingStates` in
vllm/v1/worker/gpu/sample/states.py.
"""

import numpy as np
import pytest

import corelm

VOCABULARY, TEXTS, PROMPT = 100, 1000, 6
FIELDS = {
    "repetition_penalty": ("penalty", 1.0, 1.3),
    "frequency_penalty": ("penalty", 0.0, 0.2),
    "presence_penalty": ("penalty", 0.0, 0.4),
    "temperature": ("t", 1.0, 0.8),
    "min_p": ("p", 0.0, 0.02),
    "top_k": ("k", 0, 15),
    "top_p": ("p", 1.0, 0.9),
}
"""Fields of `SamplingParams` in vLLM 0.32 that change the distribution, in the order of use, each
with corelm's parameter, its default and another value."""
DEFAULTS = {name: default for name, (_, default, _) in FIELDS.items()}
VALUES = {name: value for name, (_, _, value) in FIELDS.items()}


def reference(logits, prompt, output, settings):
    """Return the distribution of vLLM's steps."""
    z = logits.astype(np.float64)
    counts = np.bincount(output, minlength=len(z))
    seen = (counts + np.bincount(prompt, minlength=len(z))) > 0
    penalty = settings["repetition_penalty"]
    z = np.where(seen, np.where(z > 0, z / penalty, z * penalty), z)
    z = z - settings["frequency_penalty"] * counts
    z = z - settings["presence_penalty"] * (counts > 0)
    z = z / settings["temperature"]
    p = corelm.softmax(z)
    z = np.where(p < settings["min_p"] * p.max(), -np.inf, z)
    if settings["top_k"]:
        z = np.where(z < np.sort(z)[-settings["top_k"]], -np.inf, z)
    p = corelm.softmax(z)
    ascending = np.argsort(p, kind="stable")
    removed = ascending[p[ascending].cumsum() <= 1 - settings["top_p"]]
    z[np.setdiff1d(removed, ascending[-1:])] = -np.inf
    return corelm.softmax(z)


def preset(settings):
    """Return the preset with other values."""
    stages = corelm.presets()["vllm"].split(" | ")
    names = [stage.partition("(")[0] for stage in stages]
    assert [name for name in names if name in settings] == list(settings)  # vLLM's order
    for name, value in settings.items():
        i, (parameter, default, _) = names.index(name), FIELDS[name]
        assert f"{parameter}={default}" in stages[i]
        stages[i] = stages[i].replace(f"{parameter}={default}", f"{parameter}={value}")
    return corelm.sampler(" | ".join(stages))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [DEFAULTS, VALUES, *(DEFAULTS | {name: value} for name, value in VALUES.items())],
    ids=["defaults", "all", *VALUES],
)
def test_the_preset_has_the_distributions_of_the_reference(settings):
    sampler, random = preset(settings), np.random.default_rng(0)
    for logits in random.normal(scale=3, size=(TEXTS, VOCABULARY)).astype(np.float32):
        tokens = random.integers(0, VOCABULARY, PROMPT + random.integers(0, 30))
        context = corelm.Context.of(tokens, prompt_length=PROMPT)
        own = corelm.softmax(sampler(logits[None], context))[0]
        expected = reference(logits, tokens[:PROMPT], tokens[PROMPT:], settings)
        np.testing.assert_allclose(own, expected, atol=1e-5)
