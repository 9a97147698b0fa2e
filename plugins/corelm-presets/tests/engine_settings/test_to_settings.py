"""Chains as settings of other engines: the same samplers, or a refusal that names the stages."""

from __future__ import annotations

import random

import numpy as np
import pytest
from corelm_presets.engine_settings.convert import (
    ENGINES,
    engine_named,
    rewritten,
    to_settings_in_part,
)
from corelm_presets.engine_settings.engine import equal_chains

from corelm import CorelmError, from_settings, sampler, sampling_distribution, to_settings
from corelm.errors import SettingsError, UnknownNameError

REPETITION = "repetition_penalty(penalty=1.2, last=16)"
FREQUENCY = "frequency_penalty(penalty=0.5, last=16)"
PRESENCE = "presence_penalty(penalty=0.25, last=16)"
DRY = "dry(multiplier=0.8, base=2.0, sequence_breakers=['\\n', '\\\\', 'x y'], last=16)"
LLAMA = [
    f"logit_bias(bias={{5: 1.5, 6: -2}}) | ban(words=[7, 8]) | {REPETITION} | {FREQUENCY} | "
    f"{PRESENCE} | {DRY} | top_n_sigma(n=1.5) | top_k(k=20) | typical(p=0.9) | top_p(p=0.8) | "
    "min_p(p=0.1) | xtc(probability=0.5, threshold=0.2) | "
    "dynamic_temperature(t_min=0.3, t_max=1.3, exponent=2)",
    "temperature(t=0.5) | top_k(k=3) | typical(p=0.5)",
    "logit_bias(bias={5: 1.5}) | temperature(t=0.9) | mirostat(tau=3.0, eta=0.2)",
    "min_p(p=0.1) | adaptive_p(target=0.3)",
    "xtc(probability=0.5) | greedy",
    "greedy",
    "stochastic",
    "repetition_penalty(penalty=1.2) | dry(multiplier=0.8, sequence_breakers=['\\n'])",
]
PROTECTING = "xtc(probability=0.5, special=['newline', 'end'])"
WEBUI = [
    f"{REPETITION} | {PRESENCE} | {FREQUENCY} | {DRY} | top_n_sigma(n=1.5) | temperature(t=0.7) | "
    "quadratic(factor=0.3, curve=2.0) | top_k(k=20) | top_p(p=0.8) | typical(p=0.9) | "
    "epsilon(epsilon=0.0003) | eta(epsilon=0.003) | tail_free(z=0.9) | top_a(a=0.2) | "
    "min_p(p=0.1) | adaptive_p(target=0.3) | "
    f"mirostat(tau=3.0) | {PROTECTING} | no_repeat_ngram(n=3)",
    "min_p(p=0.1) | dynamic_temperature(t_min=0.5, t_max=2.0)",
    f"no_repeat_ngram(n=3) | {PROTECTING} | temperature(t=2.0) | min_p(p=0.1)",
    f"{REPETITION} | greedy",
    "ban(words=[5, 6]) | top_a(a=0.2) | tail_free(z=0.9)",
    "stochastic",
]
KOBOLD_DRY = "dry(multiplier=0.8, base=2.0, sequence_breakers=['\\n', 'x y'], last=16)"
KOBOLD = [
    f"logit_bias(bias={{5: 1.5, 6: -2}}) | ban(words=[7, 8]) | {KOBOLD_DRY} | {REPETITION} | "
    f"{PRESENCE} | top_k(k=20) | top_a(a=0.2) | tail_free(z=0.9) | typical(p=0.9) | top_p(p=0.8) | "
    "min_p(p=0.1) | temperature(t=0.7) | quadratic(factor=0.3, curve=2.0) | top_n_sigma(n=1.5) | "
    "xtc(probability=0.5, threshold=0.2) | adaptive_p(target=0.3)",
    "temperature(t=0.5) | top_k(k=3) | typical(p=0.5) | xtc(probability=1)",
    "top_a(a=1.5) | dynamic_temperature(t_min=0.3, t_max=1.3, exponent=2)",
    "repetition_penalty(penalty=1.2) | temperature(t=0.9) | quadratic(factor=0.3) | "
    "mirostat(tau=3.0, eta=0.2)",
    f"{REPETITION} | greedy",
    "stochastic",
]
OLLAMA = [
    f"{REPETITION} | {FREQUENCY} | {PRESENCE} | top_k(k=20) | typical(p=0.9) | top_p(p=0.8) | "
    "min_p(p=0.1) | temperature(t=0.7)",
    "repetition_penalty(penalty=1.2) | greedy",
    "stochastic",
]
WRITTEN = {
    "transformers": [
        "logit_bias(bias={3: 2.0}) | repetition_penalty(penalty=1.3) | no_repeat_ngram(n=2) | "
        "min_length(n=4) | ban(words=[4, 5]) | temperature(t=0.7) | top_k(k=20) | top_p(p=0.9) | "
        "min_p(p=0.01) | typical(p=0.9) | epsilon(epsilon=0.002) | eta(epsilon=0.01)",
        "repetition_penalty(penalty=1.3) | greedy",
        "stochastic",
    ],
    "llama.cpp": [
        *LLAMA,
        "force(words=['So.', '</think>'], at=9, since='<think>', unless='</think>') | greedy",
    ],
    "llama.cpp-cli": [*LLAMA, "dry(multiplier=0.8, last=8)"],
    "openai": [
        "logit_bias(bias={3: 2.0}) | frequency_penalty(penalty=0.5, skip_prompt=True) | "
        "presence_penalty(penalty=0.5, skip_prompt=True) | temperature(t=0.7) | top_p(p=0.9)",
        "greedy",
        "stochastic",
    ],
    "vllm": [
        "force(words=['</think>'], at=9, since='<think>', unless='</think>') | greedy",
        "min_length(n=4) | logit_bias(bias={3: 2.0}) | repetition_penalty(penalty=1.3) | "
        "frequency_penalty(penalty=0.5, skip_prompt=True) | temperature(t=0.7) | min_p(p=0.1) | "
        "top_k(k=20) | top_p(p=0.9)",
        "repetition_penalty(penalty=1.3) | greedy",
        "stochastic",
    ],
    "mlx-lm": [
        f"logit_bias(bias={{3: 2.0}}) | {REPETITION} | {PRESENCE} | "
        "frequency_penalty(penalty=0.5, last=9) | top_p(p=0.9) | min_p(p=0.1) | "
        "xtc(probability=0.5, threshold=0.2) | top_k(k=20) | temperature(t=0.7)",
        f"{PROTECTING} | temperature(t=0.7)",
        f"{REPETITION} | greedy",
        "stochastic",
    ],
    "sillytavern": WEBUI,
    "text-generation-webui": WEBUI,
    "koboldcpp": KOBOLD,
    "ollama": OLLAMA,
}


@pytest.mark.parametrize(
    ("engine", "expression"),
    [(engine, expression) for engine, chains in WRITTEN.items() for expression in chains],
)
def test_settings_are_read_back_as_the_same_chain(engine, expression, tmp_path):
    values = to_settings(expression, engine)
    file = tmp_path / "settings"
    file.write_text(engine_named(engine).text(values))
    for source in (values, file):
        settings = from_settings(source, engine)
        assert settings.sampler == sampler(expression)
        assert (settings.unsupported, settings.idle, settings.unknown) == ({}, (), ())
    assert from_settings(file, engine).other == {}


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "openai"])
def test_written_settings_show_their_engine(engine):
    assert from_settings(to_settings("temperature(t=0.7)", engine)).engine == engine


def test_all_samplers_are_stated():
    assert to_settings("min_p(p=0.05) | temperature(t=0.7)", "llama.cpp") == {
        "repeat_penalty": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "dry_multiplier": 0.0,
        "top_n_sigma": -1.0,
        "top_k": 0,
        "typical_p": 1.0,
        "top_p": 1.0,
        "min_p": 0.05,
        "xtc_probability": 0.0,
        "temperature": 0.7,
        "dynatemp_range": 0.0,
        "samplers": [
            "penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc",
            "temperature",
        ],
    }  # fmt: skip


def test_another_order_is_a_list_of_the_samplers_that_act():
    values = to_settings("temperature(t=0.7) | min_p(p=0.05)", "llama.cpp")
    assert values["samplers"] == ["temperature", "min_p"]


def test_flags_can_be_pasted_into_a_shell():
    values = to_settings(f"logit_bias(bias={{5: -1.5}}) | ban(words=[7]) | {DRY}", "llama.cpp-cli")
    text = engine_named("llama.cpp-cli").text(values)
    assert "--logit-bias 5-1.5 --logit-bias 7-inf " in text
    assert (
        "--dry-sequence-breaker '\\n' --dry-sequence-breaker '\\\\' --dry-sequence-breaker 'x y' "
    ) in text


def test_a_control_character_does_not_reach_the_terminal():
    settings = to_settings(
        "dry(multiplier=1, sequence_breakers=['\x1b[31m'], last=9)", "llama.cpp-cli"
    )
    assert settings["--dry-sequence-breaker"] == ["\\x1b[31m"]
    with pytest.raises(SettingsError, match="a flag cannot hold the control characters in"):
        to_settings("dry(multiplier=1, sequence_breakers=['\x9b31m'], last=9)", "llama.cpp-cli")


@pytest.mark.parametrize(
    ("engine", "expression", "message"),
    [
        (
            "openai",
            "min_p(p=0.1) | quadratic(factor=0.3) | temperature(t=0.5)",
            "min_p(p=0.1), quadratic(factor=0.3, curve=1.0) have no counterpart in openai",
        ),
        ("transformers", "typical(p=0.9) | temperature(t=0.5)",
         "transformers applies temperature before typical"),
        ("transformers", "min_p(p=0.001) | temperature(t=0.005)",  # 1e-600 is 0
         "transformers applies temperature before min_p"),
        ("vllm", "top_k(k=3) | top_k(k=2)", "vllm applies top_k only once"),
        ("llama.cpp", "top_k(k=3) | min_p(p=0.1) | top_k(k=2)",
         "llama.cpp applies top_k only once"),
        ("llama.cpp", f"{FREQUENCY} | {REPETITION}",
         "llama.cpp applies repetition_penalty before frequency_penalty"),
        ("llama.cpp", "top_k(k=3) | ban(words=[1])", "llama.cpp applies ban before top_k"),
        (
            "llama.cpp",
            f"{REPETITION} | presence_penalty(penalty=1, last=3)",
            "presence_penalty(penalty=1.0, last=3, skip_prompt=False) (repeat_last_n can be set "
            "once; an earlier stage sets it to 16) has no counterpart in llama.cpp",
        ),
        ("llama.cpp", "presence_penalty(penalty=1, last=3, skip_prompt=True)",
         "presence_penalty(penalty=1.0, last=3, skip_prompt=True) (the prompt counts there) has no "
         "counterpart in llama.cpp"),
        ("llama.cpp", "dry(multiplier=1, sequence_breakers=['x'], last=9, skip_prompt=True)",
         "dry(multiplier=1.0, base=1.75, allowed_length=2, sequence_breakers=('x',), last=9, "
         "skip_prompt=True) (the prompt counts there) has no counterpart in llama.cpp"),
        ("llama.cpp", "dry(multiplier=1, sequence_breakers=[], last=9)",
         "dry(multiplier=1.0, base=1.75, allowed_length=2, sequence_breakers=(), last=9, "
         "skip_prompt=False) (sequence_breakers are needed there, such as ['\\n']) has no "
         "counterpart in llama.cpp"),
        ("text-generation-webui", "presence_penalty(penalty=1, last=3, skip_prompt=True)",
         "presence_penalty(penalty=1.0, last=3, skip_prompt=True) (the prompt counts there) has no "
         "counterpart in text-generation-webui"),
        ("text-generation-webui",
         "dry(multiplier=1, sequence_breakers=['x'], last=9, skip_prompt=True)",
         "dry(multiplier=1.0, base=1.75, allowed_length=2, sequence_breakers=('x',), last=9, "
         "skip_prompt=True) (the prompt counts there) has no counterpart in text-generation-webui"),
        ("openai", "frequency_penalty(penalty=1, last=4)",
         "frequency_penalty(penalty=1.0, last=4, skip_prompt=False) has no counterpart in openai"),
        ("llama.cpp", "ban(words=['cat'])",
         "ban(words=('cat',)) (it takes token ids, not words) has no counterpart in llama.cpp"),
        ("llama.cpp", "top_k(k=3) | mirostat",
         "top_k cannot act in llama.cpp with mirostat, which replaces every sampler but "
         "logit_bias, ban, force and temperature"),
        ("koboldcpp", "xtc(probability=0.5) | top_k(k=3)", "koboldcpp applies top_k before xtc"),
        ("koboldcpp", "top_k(k=3) | ban(words=[1])", "koboldcpp applies ban before top_k"),
        ("koboldcpp", "presence_penalty(penalty=1, last=3, skip_prompt=True)",
         "presence_penalty(penalty=1.0, last=3, skip_prompt=True) (the prompt counts there) has no "
         "counterpart in koboldcpp"),
        ("koboldcpp", "dry(multiplier=1, sequence_breakers=['x'], last=9, skip_prompt=True)",
         "dry(multiplier=1.0, base=1.75, allowed_length=2, sequence_breakers=('x',), last=9, "
         "skip_prompt=True) (the prompt counts there) has no counterpart in koboldcpp"),
        ("koboldcpp", "top_k(k=3) | mirostat",
         "top_k cannot act in koboldcpp with mirostat, which replaces every sampler but "
         "logit_bias, ban, dry, repetition_penalty, presence_penalty, temperature and quadratic"),
        ("koboldcpp", "adaptive_p(target=0.3)",  # it puts a filter before it
         "koboldcpp cannot do the same as adaptive_p(target=0.3)"),
        ("text-generation-webui", "top_a(a=1.5)",
         "top_a(a=1.5) has no counterpart in text-generation-webui"),
        ("text-generation-webui", "top_k(k=3) | ban(words=[1])",
         "text-generation-webui applies ban before top_k"),
        ("ollama", "xtc(probability=0.5) | dry(multiplier=0.8)",
         "xtc(probability=0.5, threshold=0.1, special=()), dry(multiplier=0.8, base=1.75, "
         "allowed_length=2, sequence_breakers=(), last=0, skip_prompt=False) have no counterpart "
         "in ollama"),
        ("sillytavern", "xtc(probability=0.5)",
         "xtc(probability=0.5, threshold=0.1, special=()) (there it has special=('newline', "
         "'end')) has no counterpart in sillytavern"),
        ("mlx-lm", "xtc(probability=0.5, special=['so']) | temperature(t=0.7)",
         "xtc(probability=0.5, threshold=0.1, special=('so',)) (it takes token ids, not words) "
         "has no counterpart in mlx-lm"),
        ("openai", "logit_bias(bias={3: 101})",
         "logit_bias(bias={3: 101}) (a bias is between -100 and 100 there) has no counterpart in "
         "openai"),
        ("transformers", "top_h(h=0.5) | top_k(k=20)",
         "top_h(h=0.5) (it sums -p ln p of the 100 likeliest tokens there) has no counterpart in "
         "transformers"),
        ("transformers", "typical(p=0.2) | greedy", "typical(p=0.2) has no counterpart in "
         "transformers"),
        ("transformers", "xtc(probability=0.5, special=['a'])",
         "xtc(probability=0.5, threshold=0.1, special=('a',)) has no counterpart in transformers"),
    ],
)  # fmt: skip
def test_a_chain_that_an_engine_does_not_have_is_refused(engine, expression, message):
    with pytest.raises(SettingsError) as caught:
        to_settings(expression, engine)
    assert str(caught.value) == message


def test_options_of_ollama_are_a_part_of_a_request_or_lines_of_a_modelfile():
    values = to_settings("top_p(p=0.9) | temperature(t=0.7)", "ollama")
    assert values == {
        "options": {
            "repeat_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0, "top_k": 0,
            "typical_p": 1.0, "top_p": 0.9, "min_p": 0.0, "temperature": 0.7,
        }
    }  # fmt: skip
    text = engine_named("ollama").text(values)
    assert text.startswith("PARAMETER repeat_penalty 1.0\nPARAMETER frequency_penalty 0.0\n")


def test_an_engine_that_there_is_not():
    with pytest.raises(UnknownNameError, match=r"there is no engine 'lama.cpp'"):
        to_settings("greedy", "lama.cpp")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_any_chain_is_read_back_or_refused(engine):
    """Hundreds of chains of an engine's own stages, in any order: none becomes another chain."""
    rng = random.Random(7)
    stages = [stage for chain in WRITTEN[engine] for stage in sampler(chain).stages]
    stages = [stage for stage in stages if stage.name not in ("greedy", "stochastic")]
    written = 0
    for _ in range(300):
        chosen = rng.sample(stages, rng.randint(1, 4))
        chain = sampler(" | ".join(map(str, chosen)))
        try:
            values = to_settings(chain, engine)
        except CorelmError:
            continue
        written += 1
        assert from_settings(values, engine).sampler == (rewritten(chain, engine) or chain)
    assert written > 20


def test_a_window_without_a_limit_goes_from_engine_to_engine():
    preset = {"temp": 1, "rep_pen": 1.2, "dry_multiplier": 0.8, "rep_pen_range": 0}
    read = from_settings(preset, "sillytavern").sampler
    assert read == from_settings({**preset, "rep_pen_range": -1}, "sillytavern").sampler
    written = to_settings(read, "llama.cpp")
    assert (written["repeat_last_n"], written["dry_penalty_last_n"]) == (-1, -1)
    assert from_settings(written, "llama.cpp").sampler == read
    assert to_settings(read, "sillytavern")["rep_pen_range"] == 0


def test_the_reason_for_a_stage_that_is_left_out_is_about_that_stage():
    chain = "temperature(t=0.5) | top_k(k=5) | top_p(p=0.9)"
    settings, lost = to_settings_in_part(chain, "ollama")
    assert (settings["options"]["temperature"], settings["options"]["top_k"]) == (0.5, 5)
    assert lost == {"top_p(p=0.9)": "ollama applies top_p before temperature"}


def test_the_rest_of_a_chain_is_written_and_the_lost_stages_are_named():
    chain = "min_p(p=0.1) | top_p(p=0.9) | temperature(t=0.7) | quadratic(factor=0.3)"
    settings, lost = to_settings_in_part(chain, "vllm")
    assert from_settings(settings, "vllm").sampler == sampler("min_p(p=0.1) | top_p(p=0.9)")
    assert lost == {
        "temperature(t=0.7)": "vllm applies temperature before top_p",
        "quadratic(factor=0.3, curve=1.0)": "quadratic(factor=0.3, curve=1.0) has no counterpart "
        "in vllm",
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_a_chain_that_is_whole_loses_nothing(engine):
    for chain in WRITTEN[engine]:
        assert to_settings_in_part(chain, engine) == (to_settings(chain, engine), {})


EQUAL = [
    ("vllm", "min_p(p=0.04) | temperature(t=0.5)", "temperature(t=0.5) | min_p(p=0.0016)"),
    ("vllm", "top_k(k=5) | temperature(t=2.0)", "temperature(t=2.0) | top_k(k=5)"),
    (
        "vllm", "top_k(k=9) | min_p(p=0.04) | temperature(t=0.5) | top_p(p=0.9)",
        "temperature(t=0.5) | min_p(p=0.0016) | top_k(k=9) | top_p(p=0.9)",
    ),
    ("mlx-lm", "temperature(t=0.5) | min_p(p=0.04)", "min_p(p=0.2) | temperature(t=0.5)"),
    ("transformers", "min_p(p=0.2) | temperature(t=2.0)", "temperature(t=2.0) | min_p(p=X)"),
    ("ollama", "temperature(t=2.0) | top_k(k=5)", "top_k(k=5) | temperature(t=2.0)"),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "expression", "expected"), EQUAL)
def test_an_order_that_makes_no_difference_is_the_engines(engine, expression, expected):
    found = from_settings(to_settings(expression, engine), engine).sampler
    assert str(found) == expected.replace("X", str(0.2**0.5))
    assert rewritten(expression, engine) == found
    assert rewritten(found, engine) is None
    logits = np.random.default_rng(0).normal(0, 3, (50, 100))
    ours, theirs = (sampling_distribution(each, logits) for each in (expression, found))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize(
    "expression",
    [
        "top_p(p=0.9) | temperature(t=0.5)",
        "top_k(k=5) | typical(p=0.9) | temperature(t=0.5)",
        "min_p(p=0.1) | xtc(probability=0.5) | temperature(t=0.5)",
    ],
)
def test_an_order_that_makes_a_difference_is_none_of_the_equal_ones(expression):
    logits = np.random.default_rng(0).normal(0, 3, (50, 100))
    stages = sampler(expression).stages
    for chain in equal_chains(stages):
        assert chain.index(stages[-2]) < chain.index(stages[-1])
        ours = sampling_distribution(expression, logits)
        theirs = sampling_distribution(" | ".join(map(str, chain)), logits)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
