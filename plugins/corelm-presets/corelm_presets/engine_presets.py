"""The default samplers of other engines as chains that you can print, edit and compare.

A chain has the order and the documented defaults of its engine. Stages that are off by default are
included at their neutral values, so you can edit a chain without knowing the order by heart. The
largest difference is the place of the temperature: first in transformers, vLLM and KerasHub, last
in llama.cpp and mlx-lm.

Sources, as of 2026:
    llama.cpp     tools/server/README.md, section "Sampling params"; common/common.h
    transformers  5.24, `_get_logits_processor` in generation/utils.py; GenerationConfig
    vLLM          docstring of `Sampler` in vllm/v1/sample/sampler.py; `SamplingParams`
    mlx-lm        `make_sampler` and `make_logits_processors` in mlx_lm/sample_utils.py
    KerasHub      `CausalLM.compile`; samplers/sampler.py and top_k_sampler.py
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from corelm import Sampler
from corelm.errors import UnknownNameError
from corelm.runs import Expression, printable


@dataclass(frozen=True)
class EnginePreset:
    """The default sampling of another engine.

    Attributes:
        about: one or two sentences on what the preset reproduces and what it does not.
        stages: the samplers in the engine's order, each an expression.
    """

    about: str
    stages: tuple[str, ...]

    @property
    def expression(self) -> str:
        """The whole chain, for `corelm.sampler`."""
        return " | ".join(self.stages)


ENGINES: Mapping[str, EnginePreset] = {
    "llama.cpp": EnginePreset(
        "The defaults of llama-cli and llama-server. Penalties and DRY look at the last 64 tokens.",
        (
            "repetition_penalty(penalty=1.0, last=64)",
            "frequency_penalty(penalty=0.0, last=64)",
            "presence_penalty(penalty=0.0, last=64)",
            "dry(multiplier=0.0, base=1.75, allowed_length=2, "
            "sequence_breakers=('\\n', ':', '\"', '*'), last=64)",
            "top_n_sigma(n=inf)",  # -1 there
            "top_k(k=40)",
            "typical(p=1.0)",
            "top_p(p=0.95)",
            "min_p(p=0.05)",
            "xtc(probability=0.0, threshold=0.1)",
            "temperature(t=0.8)",
        ),
    ),
    "transformers": EnginePreset(
        "generate(do_sample=True) of a model that brings no settings of its own; without "
        "do_sample it is greedy.",
        (
            "repetition_penalty(penalty=1.0)",
            "no_repeat_ngram(n=0)",
            "min_length(n=0)",
            "temperature(t=1.0)",
            "top_k(k=50)",
            "top_p(p=1.0)",
            "min_p(p=0.0)",
            "typical(p=1.0)",
            "epsilon(epsilon=0.0)",
            "eta(epsilon=0.0)",
        ),
    ),
    "vllm": EnginePreset(
        "SamplingParams() of a model that brings no settings of its own. The repetition penalty "
        "counts the prompt too, the other two only what was drawn.",
        (
            "min_length(n=0)",
            "repetition_penalty(penalty=1.0)",
            "frequency_penalty(penalty=0.0, skip_prompt=True)",
            "presence_penalty(penalty=0.0, skip_prompt=True)",
            "temperature(t=1.0)",
            "min_p(p=0.0)",
            "top_k(k=0)",
            "top_p(p=1.0)",
        ),
    ),
    "mlx-lm": EnginePreset(
        "make_logits_processors() and make_sampler(), whose temperature is 0 by default, which is "
        "greedy. Penalties look at the last 20 tokens.",
        (
            "repetition_penalty(penalty=1.0, last=20)",
            "presence_penalty(penalty=0.0, last=20)",
            "frequency_penalty(penalty=0.0, last=20)",
            "top_p(p=1.0)",
            "min_p(p=0.0)",
            "xtc(probability=0.0, threshold=0.1)",
            "top_k(k=0)",
            "temperature(t=0.0)",
        ),
    ),
    "keras-hub": EnginePreset(
        "The sampler that CausalLM.compile() takes by itself, TopKSampler.",
        ("temperature(t=1.0)", "top_k(k=5)"),
    ),
}


def presets() -> dict[str, str]:
    """Return the default sampling of other engines: a mapping from engine to expression.

    Example:
        >>> import corelm
        >>> list(corelm.presets())
        ['llama.cpp', 'transformers', 'vllm', 'mlx-lm', 'keras-hub']
        >>> corelm.presets()["keras-hub"]
        'temperature(t=1.0) | top_k(k=5)'
    """
    return {name: engine.expression for name, engine in ENGINES.items()}


def preset(name: str) -> Sampler:
    """Return the sampler of another engine, in its order and with its defaults.

    Args:
        name: one of `presets()`.

    Raises:
        UnknownNameError: no such engine; the message lists them.

    Example:
        >>> import corelm
        >>> corelm.preset("keras-hub")
        temperature(t=1.0) | top_k(k=5)
    """
    if name not in ENGINES:
        if os.path.exists(name):
            raise UnknownNameError(
                f"there is no preset {name!r}, but a file: `corelm presets --from {name}` prints "
                "its settings as an expression for --sampler; in Python, corelm.from_settings"
            )
        hint = printable.did_you_mean(name, ENGINES)
        raise UnknownNameError(
            f"there is no preset {name!r}{hint} (there are: {', '.join(ENGINES)})"
        )
    # corelm's own samplers, even if a plugin offers the same names.
    return Expression.built_in(ENGINES[name].expression)
