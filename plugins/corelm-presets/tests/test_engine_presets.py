"""Presets: other engines' order and defaults, as expressions that can be edited."""

from __future__ import annotations

import re

import numpy as np
import pytest
from corelm_presets.engine_presets import ENGINES

from corelm import lint, preset, presets, sampler, sampling_distribution
from corelm.errors import UnknownNameError

INF = float("inf")


def order(name):
    return [stage.name for stage in preset(name).stages]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "llama.cpp",
            "repetition_penalty frequency_penalty presence_penalty dry top_n_sigma top_k typical "
            "top_p min_p xtc temperature",
        ),
        (
            "transformers",
            "repetition_penalty no_repeat_ngram min_length temperature top_k top_p min_p typical "
            "epsilon eta",
        ),
        (
            "vllm",
            "min_length repetition_penalty frequency_penalty presence_penalty temperature min_p "
            "top_k top_p",
        ),
        (
            "mlx-lm",
            "repetition_penalty presence_penalty frequency_penalty top_p min_p xtc top_k "
            "temperature",
        ),
        ("keras-hub", "temperature top_k"),
    ],
)
def test_the_order_is_the_engines(name, expected):
    assert order(name) == expected.split()


ACTIVE = {
    "llama.cpp": "top_k(k=40) | top_p(p=0.95) | min_p(p=0.05) | temperature(t=0.8)",
    "transformers": "top_k(k=50)",
    "vllm": "stochastic",
    "mlx-lm": "greedy",
    "keras-hub": "top_k(k=5)",
}
"""The stages of each preset that are on by default."""


@pytest.mark.parametrize("name", ACTIVE)
def test_the_defaults_are_the_engines(name):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (4, 200))
    tokens = rng.integers(0, 20, (4, 100))
    got = sampling_distribution(preset(name), logits, tokens)
    assert np.array_equal(got, sampling_distribution(sampler(ACTIVE[name]), logits, tokens))


def test_the_windows_of_the_penalties_are_the_engines():
    windows = {
        name: {(s.last, s.skip_prompt) for s in preset(name).stages if hasattr(s, "last")}
        for name in ("llama.cpp", "mlx-lm", "transformers")
    }
    assert windows == {
        "llama.cpp": {(64, False)},
        "mlx-lm": {(20, False)},
        "transformers": {(0, False)},
    }
    skips = [s.skip_prompt for s in preset("vllm").stages if hasattr(s, "skip_prompt")]
    assert skips == [False, True, True]


def test_the_place_of_the_temperature_makes_a_difference():
    """Temperature first keeps four tokens, temperature last three."""
    logits = [3.0, 2.0, 1.0, 0.0]
    kept = {}
    for name in ("vllm", "llama.cpp"):
        edited = re.sub(r"min_p\(p=[\d.]+\)", "min_p(p=0.1)", presets()[name])
        edited = re.sub(r"temperature\(t=[\d.]+\)", "temperature(t=1.5)", edited)
        edited = edited.replace("top_p(p=0.95)", "top_p(p=1.0)")
        kept[name] = np.count_nonzero(sampling_distribution(sampler(edited), logits))
    assert kept == {"vllm": 4, "llama.cpp": 3}


@pytest.mark.parametrize("name", ENGINES)
def test_a_preset_is_printed_read_back_and_says_what_it_is(name):
    assert sampler(presets()[name]) == preset(name)
    assert sampler(str(preset(name))) == preset(name)
    assert ENGINES[name].about.endswith(".")


@pytest.mark.parametrize("name", ENGINES)
def test_a_preset_gets_no_warning(name):
    assert lint(preset(name)) == []


def test_dry_can_be_switched_on_in_the_expression():
    edited = presets()["llama.cpp"].replace("multiplier=0.0", "multiplier=0.8")
    dry = next(stage for stage in sampler(edited).stages if stage.name == "dry")
    assert (dry.multiplier, dry.sequence_breakers) == (0.8, ("\n", ":", '"', "*"))


@pytest.mark.parametrize(
    ("name", "hint"), [("llama", "; did you mean 'llama.cpp'?"), ("ollama2000x", "")]
)
def test_an_unknown_preset_comes_with_the_known_ones(name, hint):
    with pytest.raises(UnknownNameError) as caught:
        preset(name)
    assert str(caught.value) == (
        f"there is no preset {name!r}{hint} "
        "(there are: llama.cpp, transformers, vllm, mlx-lm, keras-hub)"
    )
