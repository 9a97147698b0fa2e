"""Presets: other engines' order and defaults, as expressions that can be edited."""

from __future__ import annotations

import pytest
from corelm_presets.engine_presets import ENGINES

from corelm import lint, preset


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


@pytest.mark.parametrize("name", ENGINES)
def test_a_preset_gets_no_warning(name):
    assert lint(preset(name)) == []
