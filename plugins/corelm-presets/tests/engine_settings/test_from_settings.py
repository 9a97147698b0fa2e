"""Settings of other engines as chains: in their order, with their defaults, nothing dropped."""

from __future__ import annotations

import json

import pytest
from corelm_presets.engine_settings.convert import ENGINES
from corelm_presets.engine_settings.setting import NoCounterpartError, Setting

from corelm import CorelmError, from_settings, preset, sampler, to_settings
from corelm.errors import SettingsError, UnknownNameError, UsageError

NUCLEUS = "top_p(p=0.95) | min_p(p=0.05) | temperature(t=0.8)"
PENALTY = "repetition_penalty(penalty=1.2, last={}, skip_prompt=False, normalised=False)"
BUDGET = "force(words=('</think>',), at=9, since='<think>', unless='</think>')"

KOBOLD_OFF = {"top_k": 0, "top_p": 1, "temperature": 1}

READ = [
    # What an engine does by default.
    ("llama.cpp", {}, f"top_k(k=40) | {NUCLEUS}"),
    ("transformers", {}, "greedy"),
    ("transformers", {"do_sample": True}, "top_k(k=50)"),
    ("vllm", {}, "stochastic"),
    ("openai", {}, "stochastic"),
    ("mlx-lm", {}, "greedy"),
    ("sillytavern", {}, "stochastic"),
    ("text-generation-webui", {}, "stochastic"),
    ("koboldcpp", {}, "top_k(k=100) | top_p(p=0.92) | temperature(t=0.75)"),
    ("ollama", {}, "top_k(k=40) | top_p(p=0.9) | temperature(t=0.8)"),
    # 0, 1 and -1 are off, each where the engine says so; null is the default.
    ("llama.cpp", {"top_k": -1, "top_p": 1, "min_p": 0, "temperature": 1}, "stochastic"),
    ("llama.cpp", {"top_k": None}, f"top_k(k=40) | {NUCLEUS}"),
    ("vllm", {"top_k": -1, "temperature": 1}, "stochastic"),
    ("llama.cpp", {"top_k": 0, "top_n_sigma": 0}, NUCLEUS),
    ("mlx-lm", {"temperature": 0.5, "top_p": 0, "repetition_penalty": 0}, "temperature(t=0.5)"),
    ("mlx-lm", {"temp": 0.5, "top_p": 0.9}, "top_p(p=0.9) | temperature(t=0.5)"),
    # llama.cpp takes a p outside 0 to 1 for the nearer end.
    (
        "llama.cpp",
        {"top_k": 0, "top_p": 1.5, "min_p": 1.05, "temperature": 1, "typical_p": 1.5},
        "min_p(p=1.0)",
    ),
    ("ollama", {"top_k": 0, "top_p": 1, "temperature": 1, "typical_p": 0}, "typical(p=1e-09)"),
    ("llama.cpp", {"top_k": 0, "top_n_sigma": 1.5}, f"top_n_sigma(n=1.5) | {NUCLEUS}"),
    ("llama.cpp", {"top_k": 0, "xtc_probability": 0.5, "xtc_threshold": 0.6}, NUCLEUS),
    # Mirostat takes the temperature without its range, and a list may have a sampler twice.
    *(
        (
            engine,
            {"temperature": 1.5, "mirostat": 2, "dynatemp_range": 0.5},
            "temperature(t=1.5) | mirostat(tau=5.0, eta=0.1)",
        )
        for engine in ("llama.cpp", "koboldcpp")
    ),
    (
        "llama.cpp-cli",
        {"--temp": 1.5, "--mirostat": 2, "--dynatemp-range": 0.5},
        "temperature(t=1.5) | mirostat(tau=5.0, eta=0.1)",
    ),
    (
        "llama.cpp",
        {"samplers": ["temperature", "top_k", "temperature"], "temperature": 1.5},
        "temperature(t=1.5) | top_k(k=40) | temperature(t=1.5)",
    ),
    # Before greedy a filter matters where a later sampler depends on it.
    ("llama.cpp", {"temperature": 0, "typical_p": 0.3}, "top_k(k=40) | typical(p=0.3) | greedy"),
    ("llama.cpp", {"temperature": -1, "dynatemp_range": 0.5}, "greedy"),
    ("llama.cpp", {"temperature": -0.5, "dynatemp_range": 0.5}, "greedy"),
    ("llama.cpp", {"temperature": 0, "dry_multiplier": 0.8, "dry_penalty_last_n": 0}, "greedy"),
    ("mlx-lm", {"xtc_probability": 1.0}, "greedy"),
    # Windows: 0 is none in llama.cpp and all in the others, -1 all in llama.cpp.
    ("llama.cpp", {"top_k": 0, "repeat_penalty": 1.2}, f"{PENALTY.format(64)} | {NUCLEUS}"),
    ("llama.cpp", {"top_k": 0, "repeat_penalty": 1.2, "repeat_last_n": 0}, NUCLEUS),
    (
        "llama.cpp",
        {"top_k": 0, "repeat_penalty": 1.2, "repeat_last_n": -1},
        f"{PENALTY.format(0)} | {NUCLEUS}",
    ),
    ("text-generation-webui", {"repetition_penalty": 1.2}, PENALTY.format(1024)),
    ("sillytavern", {"rep_pen": 1.2}, PENALTY.format(0)),
    ("vllm", {"repetition_penalty": 1.2}, PENALTY.format(0)),
    # A budget of tokens for thinking.
    ("vllm", {"thinking_token_budget": 9, "temperature": 0}, f"{BUDGET} | greedy"),
    ("vllm", {"thinking_token_budget": -1, "repetition_detection": {}}, "stochastic"),
    ("llama.cpp", {"reasoning_budget_tokens": 9, "top_k": 0}, f"{BUDGET} | {NUCLEUS}"),
    ("llama.cpp", {"thinking_budget_tokens": 9, "top_k": 0}, f"{BUDGET} | {NUCLEUS}"),
    ("llama.cpp-cli", {"--reasoning-budget": 9, "--top-k": 0}, f"{BUDGET} | {NUCLEUS}"),
    (
        "llama.cpp",
        {"reasoning_budget_tokens": 9, "reasoning_budget_message": "So.", "mirostat": 2},
        BUDGET.replace("('", "('So.', '").replace("',)", "')")
        + " | temperature(t=0.8) | mirostat(tau=5.0, eta=0.1)",
    ),
    ("mlx-lm", {"repetition_penalty": 1.2}, f"{PENALTY.format(20)} | greedy"),
    (
        "openai",
        {"presence_penalty": 0.5, "frequency_penalty": 0.25},
        "frequency_penalty(penalty=0.25, last=0, skip_prompt=True) | "
        "presence_penalty(penalty=0.5, last=0, skip_prompt=True)",
    ),
    # The order is the engine's own, or the order of its list.
    (
        "vllm",
        {"top_p": 0.9, "top_k": 5, "min_p": 0.1, "temperature": 2, "min_tokens": 3},
        "min_length(n=3) | temperature(t=2.0) | min_p(p=0.1) | top_k(k=5) | top_p(p=0.9)",
    ),
    (
        "llama.cpp",
        {"samplers": ["temperature", "typical_p", "top-k"], "typical_p": 0.5},
        "temperature(t=0.8) | typical(p=0.5) | top_k(k=40)",
    ),
    ("llama.cpp", {"samplers": "tk", "temperature": 0.5}, "temperature(t=0.5) | top_k(k=40)"),
    (
        "text-generation-webui",
        {"min_p": 0.1, "temperature": 2, "temperature_last": True},
        "min_p(p=0.1) | temperature(t=2.0)",
    ),
    # text-generation-webui puts what its list lacks first.
    (
        "text-generation-webui",
        {"min_p": 0.1, "temperature": 2, "top_k": 9, "sampler_priority": "min_p\ntemperature"},
        "top_k(k=9) | min_p(p=0.1) | temperature(t=2.0)",
    ),
    # Units and forms of the engine.
    ("text-generation-webui", {"epsilon_cutoff": 3}, "epsilon(epsilon=0.0003)"),
    ("sillytavern", {"eta_cutoff": 10}, "eta(epsilon=0.001)"),
    (
        "llama.cpp",
        {"top_k": 0, "top_p": 1, "min_p": 0, "temperature": 0.8, "dynatemp_range": 0.5},
        "dynamic_temperature(t_min=0.3, t_max=1.3, exponent=1.0)",
    ),
    (
        "sillytavern",
        {"dynatemp": True, "min_temp": 0.5, "max_temp": 2, "temp": 0.7},
        "dynamic_temperature(t_min=0.5, t_max=2.0, exponent=1.0)",
    ),
    (
        "sillytavern",
        {"dry_multiplier": 0.8, "dry_sequence_breakers": '["\\n", "*"]'},
        "dry(multiplier=0.8, base=1.75, allowed_length=2, sequence_breakers=('\\n', '*'), last=0, "
        "skip_prompt=False)",
    ),
    (
        "text-generation-webui",
        {"dry_multiplier": 0.8, "repetition_penalty_range": 9},
        "dry(multiplier=0.8, base=1.75, allowed_length=2, "
        "sequence_breakers=('\\n', ':', '\"', '*'), last=9, skip_prompt=False)",
    ),
    (
        "llama.cpp",
        {"mirostat": 2, "mirostat_tau": 4, "temperature": 0.9},
        "temperature(t=0.9) | mirostat(tau=4.0, eta=0.1)",
    ),
    (
        "llama.cpp",
        {"samplers": ["adaptive_p", "min_p"], "adaptive_target": 0.3},
        "min_p(p=0.05) | adaptive_p(target=0.3, decay=0.9)",
    ),
    ("openai", {"logit_bias": {"15": -100, "7": 1.5}}, "logit_bias(bias={15: -100, 7: 1.5})"),
    (
        "llama.cpp",
        {"logit_bias": [[15, False], [7, 1.5]], "samplers": []},
        "logit_bias(bias={7: 1.5}) | ban(words=(15,))",
    ),
    # Tail-free and top-a, in their places, and off outside the range of the engine.
    (
        "text-generation-webui",
        {"tfs": 0.9, "top_a": 0.2, "min_p": 0.1},
        "tail_free(z=0.9) | top_a(a=0.2) | min_p(p=0.1)",
    ),
    (
        "sillytavern",
        {"tfs": 0.9, "top_a": 0.2, "sampler_priority": ["top_a", "temperature"]},
        "tail_free(z=0.9) | top_a(a=0.2)",
    ),
    ("text-generation-webui", {"tfs": -1, "top_a": 1.5}, "stochastic"),
    ("koboldcpp", {**KOBOLD_OFF, "tfs": 0.9, "top_a": 1.5}, "top_a(a=1.5) | tail_free(z=0.9)"),
    ("koboldcpp", {**KOBOLD_OFF, "tfs": -0.5, "top_a": -1}, "tail_free(z=0.0)"),
    # Bans of token ids act first.
    (
        "text-generation-webui",
        {"custom_token_bans": "15, 7", "top_k": 5},
        "ban(words=(15, 7)) | top_k(k=5)",
    ),
    (
        "sillytavern",
        {"banned_tokens": "[15]\n[7, 8]", "top_k": 5},
        "ban(words=(15, 7, 8)) | top_k(k=5)",
    ),
    (
        "koboldcpp",
        {**KOBOLD_OFF, "custom_token_bans": "15", "logit_bias": {"3": -500}},
        "logit_bias(bias={3: -100.0}) | ban(words=(15,))",
    ),
    # KoboldCpp: seven samplers by number, DRY before them and XTC after them.
    (
        "koboldcpp",
        {
            "temperature": 2,
            "min_p": 0.1,
            "nsigma": 1.5,
            "smoothing_factor": 0.2,
            "rep_pen": 1.2,
            "xtc_probability": 0.5,
            "dry_multiplier": 0.8,
            "sampler_order": [5, 2, 6],
        },
        "dry(multiplier=0.8, base=1.75, allowed_length=2, sequence_breakers=(), last=320, "
        "skip_prompt=False) | temperature(t=2.0) | quadratic(factor=0.2, curve=1.0) | "
        f"top_n_sigma(n=1.5) | top_p(p=0.92) | min_p(p=0.1) | {PENALTY.format(320)} | "
        "xtc(probability=0.5, threshold=0.2, special=())",
    ),
    ("koboldcpp", {**KOBOLD_OFF, "sampler_order": [], "typical": 0.5}, "typical(p=0.5)"),
    (
        "koboldcpp",
        {**KOBOLD_OFF, "rep_pen": 1.2, "rep_pen_range": 0, "rep_pen_slope": 1.7},
        "repetition_penalty(penalty=1.2, last=1, skip_prompt=False, normalised=False)",
    ),
    (
        "llama.cpp",
        {"temp": 0.5, "mirostat_mode": 2, "mirostat_tau": 3.0},  # llama-cpp-python's names
        "temperature(t=0.5) | mirostat(tau=3.0, eta=0.1)",
    ),
    (
        "sillytavern",
        {"temp": 1, "dry_multiplier": 0.8, "rep_pen_range": 64, "dry_penalty_last_n": 8},
        "dry(multiplier=0.8, base=1.75, allowed_length=2, "
        "sequence_breakers=('\\n', ':', '\"', '*'), last=64, skip_prompt=False)",
    ),
    (
        "koboldcpp",
        {**KOBOLD_OFF, "adaptive_target": 0.3},
        "min_p(p=0.002) | adaptive_p(target=0.3, decay=0.9)",
    ),
    (
        "koboldcpp",
        {**KOBOLD_OFF, "dynatemp_range": 0.5, "temperature": 0.8},
        "dynamic_temperature(t_min=0.3, t_max=1.3, exponent=1.0)",
    ),
    (
        "koboldcpp",
        {"mirostat": 2, "rep_pen": 1.2},
        f"{PENALTY.format(320)} | temperature(t=0.75) | mirostat(tau=5.0, eta=0.1)",
    ),
    # Ollama passes its options on to llama.cpp's server.
    (
        "ollama",
        {"model": "m", "options": {"temperature": 0.5, "top_k": 0, "min_p": 0.1}},
        "top_p(p=0.9) | min_p(p=0.1) | temperature(t=0.5)",
    ),
    (
        "ollama",
        {"repeat_penalty": 1.2, "repeat_last_n": -1, "temperature": 0},
        f"{PENALTY.format(0)} | greedy",
    ),
    # Temperature 0 is greedy: what acts before it and keeps the most likely token is idle.
    ("openai", {"temperature": 0, "top_p": 0.9}, "greedy"),
    ("vllm", {"temperature": 1e-6}, "greedy"),
    ("llama.cpp", {"temperature": -1, "repeat_penalty": 1.2}, f"{PENALTY.format(64)} | greedy"),
]


@pytest.mark.parametrize(("engine", "values", "expression"), READ)
def test_settings_as_a_chain(engine, values, expression):
    settings = from_settings(values, engine)
    assert (settings.engine, str(settings.sampler)) == (engine, expression)
    assert (settings.unsupported, settings.unknown) == ({}, ())


@pytest.mark.parametrize(
    ("engine", "values"),
    [("llama.cpp", {}), ("transformers", {"do_sample": True}), ("vllm", {}), ("mlx-lm", {})],
)
def test_the_defaults_are_those_of_the_preset(engine, values):
    stages = from_settings(values, engine).sampler.active_stages
    of_preset = preset(engine).active_stages or sampler("stochastic").stages
    assert stages == (sampler("greedy").stages if engine == "mlx-lm" else of_preset)


def test_every_key_is_accounted_for():
    settings = from_settings(
        {
            "do_sample": False, "temperature": 0.5, "top_k": 5, "repetition_penalty": 1.2,
            "num_beams": 4, "bad_words_ids": [[1, 2]], "guidance_scale": 1, "max_new_tokens": 9,
            "eos_token_id": 2, "colour": "blue",
        }
    )  # fmt: skip
    assert settings.engine == "transformers"
    assert str(settings.sampler) == f"{PENALTY.format(0)} | greedy"
    assert settings.unsupported == {
        "num_beams": "",
        "bad_words_ids": "corelm bans one token by its id, not a sequence",
    }
    assert settings.idle == ("temperature", "top_k")
    assert settings.other == {"max_new_tokens": 9, "eos_token_id": 2}
    assert settings.unknown == ("colour",)


@pytest.mark.parametrize(
    ("engine", "values", "unsupported"),
    [
        *(("llama.cpp", {"mirostat": x}, {"mirostat": "corelm has version 2"}) for x in (1, 3, -1)),
        ("llama.cpp", {"samplers": ["infill", "top_k"]}, {"infill in the list of samplers": ""}),
        ("llama.cpp", {"grammar": "root ::= x"}, {"grammar": ""}),
        ("llama.cpp", {"logit_bias": [["Hello", False]]},
         {"logit_bias": "corelm takes token ids, not texts of any length"}),
        ("koboldcpp", {"banned_tokens": ["Elara"], "mirostat": 1},
         {"mirostat": "corelm has version 2", "banned_tokens": ""}),
        ("koboldcpp", {"rep_pen": 1.2, "rep_pen_slope": 0.7},
         {"rep_pen": "corelm's penalty is the same in the whole window"}),
        ("koboldcpp", {"sampler_order": [6, 9]}, {"9 in the list of samplers": ""}),
        ("sillytavern", {"banned_tokens": '[5]\n"a phrase"'},
         {"banned_tokens": "corelm takes lines of token ids here, such as [15, 16]"}),
        ("ollama", {"format": "json"}, {"format": ""}),
        ("transformers", {"do_sample": True, "sequence_bias": [[[1, 2], 0.5]]},
         {"sequence_bias": "corelm biases one token, not a sequence"}),
        ("transformers", {"do_sample": True, "top_h": 0.5},
         {"top_h": "it sums -p ln p of the 100 likeliest tokens there"}),
    ],
)  # fmt: skip
def test_what_corelm_does_not_have_is_named(engine, values, unsupported):
    settings = from_settings(values, engine)
    assert settings.unsupported == unsupported
    if engine == "transformers":  # the rest is read
        assert str(settings.sampler) == "top_k(k=50)"


@pytest.mark.parametrize(
    ("engine", "values", "idle"),
    [
        (
            "llama.cpp",
            {"mirostat": 2, "top_k": 9, "repeat_penalty": 1.2},
            ("repeat_penalty", "top_k"),
        ),
        ("llama.cpp", {"samplers": ["top_k"], "repeat_penalty": 1.2}, ("repeat_penalty",)),
        ("llama.cpp", {"temperature": 0, "min_p": 0.3}, ("min_p",)),
        ("llama.cpp", {"mirostat": 2, "dynatemp_range": 0.3}, ("dynatemp_range",)),
        (
            "koboldcpp",
            {"temperature": 1, "mirostat": 2, "dynatemp_range": 0.3},
            ("dynatemp_range",),
        ),
        ("mlx-lm", {"temperature": 0, "xtc_probability": 0.5}, ("xtc_probability",)),
        ("ollama", {"mirostat": 2, "tfs_z": 0.9, "top_k": 9}, ("mirostat", "tfs_z")),
        ("sillytavern", {"temp": 1, "dry_penalty_last_n": 8}, ("dry_penalty_last_n",)),
    ],
)
def test_what_the_engine_ignores_is_named(engine, values, idle):
    settings = from_settings(values, engine)
    assert (settings.idle, settings.unsupported, settings.other) == (idle, {}, {})


@pytest.mark.parametrize(
    ("values", "engine"),
    [
        ({"do_sample": True, "top_p": 0.9, "transformers_version": "5.0"}, "transformers"),
        ({"temperature": 0.7, "n_predict": 9}, "llama.cpp"),
        ({"model": "m", "messages": [], "temperature": 0.7}, "openai"),
        ({"model": "m", "messages": [], "top_k": 5, "repetition_penalty": 1.1}, "vllm"),
        ({"messages": [], "top_k": 5, "repeat_penalty": 1.1}, "llama.cpp"),
        ({"temperature": 0.7, "repetition_context_size": 9}, "mlx-lm"),
        ({"temp": 0.7, "top_k": 5}, "sillytavern"),
        ({"temperature": 0.7, "smoothing_factor": 0.2}, "text-generation-webui"),
        ({"--temp": 0.7, "--top-k": 5}, "llama.cpp-cli"),
        ({"presence_penalty": 0.5, "stop": ["a"], "user": "x"}, "openai"),
        ({"temperature": 0.7, "top_p": 0.9, "rep_pen": 1.1}, "koboldcpp"),
        ({"temperature": 0.7, "sampler_order": [6, 0, 1, 3, 4, 2, 5]}, "koboldcpp"),
        ({"temp": 0.7, "rep_pen": 1.1, "sampler_order": [6, 0, 1, 3, 4, 2, 5]}, "sillytavern"),
        ({"prompt": "p", "max_length": 50, "temperature": 0.7}, "koboldcpp"),
        ({"temperature": 0.7, "num_ctx": 4096}, "ollama"),
        ({"model": "m", "prompt": "p", "options": {"temperature": 0.7}}, "ollama"),
    ],
)
def test_the_engine_is_the_one_whose_keys_these_are(values, engine):
    assert from_settings(values).engine == engine


@pytest.mark.parametrize(
    ("detection", "loop"),
    [
        ({"max_pattern_size": 8, "min_count": 4}, "times=4, end=True, shortest=1, longest=8"),
        (
            {"max_pattern_size": 8, "min_pattern_size": 3, "min_count": 2},
            "times=2, end=True, shortest=3, longest=8",
        ),
    ],
)
@pytest.mark.parametrize("temperature", [0, 0.5])
def test_a_loop_that_ends_a_text(detection, loop, temperature):
    pytest.importorskip("corelm_break_loop")
    values = {"repetition_detection": detection, "temperature": temperature}
    settings = from_settings(values, "vllm")
    last = "temperature(t=0.5)" if temperature else "greedy"
    chain = f"corelm-break-loop:break_loop(words=(), {loop}) | {last}"
    assert str(settings.sampler) == chain
    written = to_settings(f"break_loop({loop}) | {last}", "vllm")
    assert from_settings(written, "vllm").sampler == settings.sampler


def test_a_setting_may_need_a_package():
    missing = Setting("corelm-missing:loops", {"loops": 0}, {}, lambda loops: {}, dict)
    with pytest.raises(NoCounterpartError, match="it needs the package corelm-missing"):
        missing.stage({"loops": 2})


def test_keys_of_several_engines_are_refused_unless_they_mean_the_same():
    with pytest.raises(UsageError) as caught:
        from_settings({"temperature": 0.7, "top_p": 0.9})
    assert str(caught.value) == (
        "the keys may be those of transformers, llama.cpp, openai, vllm, mlx-lm or "
        "text-generation-webui, where they mean different samplers; say which one: --format, or "
        "engine= in Python"
    )
    assert str(from_settings({"temperature": 0.7}, "vllm").sampler) == "temperature(t=0.7)"


@pytest.mark.parametrize(
    ("values", "engine", "error", "message"),
    [
        ({"colour": 1}, None, UsageError, "no key is a sampler's in transformers, llama.cpp, "),
        ({}, None, UsageError, "no key is a sampler's in "),
        (
            {"repetition_detection": {"max_pattern_size": 2, "min_pattern_size": 3}},
            "vllm", SettingsError, "repetition_detection={'max_pattern_size': 2, "
            "'min_pattern_size': 3}: min_pattern_size must be at most max_pattern_size, 2",
        ),
        ({"top_k": 1}, "vlm", UnknownNameError, "there is no engine 'vlm'; did you mean 'vllm'"),
        ({"top_p": 3}, "vllm", SettingsError, "top_p=3: p must be at least 0 and at most 1, not 3"),
        ({"top_p": "hot"}, "vllm", SettingsError, "top_p='hot': p must be a number, not 'hot'"),
        ({"top_k": [1]}, "llama.cpp", SettingsError, "top_k=[1]: a value of a wrong type"),
        ({"logit_bias": 5}, "openai", SettingsError, "logit_bias=5: a value of a wrong type"),
        ({"logit_bias": {"3": True}}, "openai", SettingsError,
         "logit_bias={'3': True}: a value of a wrong type"),
        ({"temperature": "x", "n_predict": 9}, None, SettingsError, "temperature='x': a value of "),
        ({"--dry-multiplier": 1, "--dry-sequence-breaker": [5]}, None, SettingsError,
         "dry_multiplier=1, dry_sequence_breakers=[5]: a value of a wrong type"),
        ({"custom_token_bans": "a"}, "koboldcpp", SettingsError, "custom_token_bans='a': a value "),
        ({"sampler_order": ["6"]}, "koboldcpp", SettingsError,
         "sampler_order must be a list of numbers, not ['6']"),
        ({"samplers": 3}, "llama.cpp", SettingsError, "samplers must be a list of names, not 3"),
        ({"do_sample": 1}, "transformers", SettingsError, "do_sample must be true or false, not 1"),
        ({"--logit-bias": ["a"]}, None, SettingsError, "--logit-bias must be an id and a number"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_read(values, engine, error, message):
    with pytest.raises(error) as caught:
        from_settings(values, engine)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("breakers", [["a", "b"], '["a", "b"]', '"a", "b"'])
def test_breakers_are_a_list_or_json_with_or_without_its_brackets(breakers):
    settings = from_settings(
        {"dry_multiplier": 1, "dry_sequence_breakers": breakers}, "text-generation-webui"
    )
    assert settings.sampler == sampler("dry(multiplier=1, sequence_breakers=['a', 'b'], last=1024)")


NASTY = [
    None, True, -1, 0, 10**400, 1e308, float("nan"), float("inf"), "", "a\n", [], [[]], [[1]],
    [[1, 2, 3]], {}, {"a": {"b": 1}}, ["x"], [None], "[1", json.loads("[" * 900 + "]" * 900),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_any_value_of_any_key_is_read_or_refused_in_one_line(engine):
    words = {"--" + key.replace("_", "-"): key for key in engine.sampler_keys}
    for key in [*engine.sampler_keys, *words, *engine.unsupported]:
        for value in NASTY:
            try:
                from_settings({key: value}, engine.name)
            except CorelmError as error:
                assert "\n" not in str(error)  # noqa: PT017
                assert len(str(error)) < 400  # noqa: PT017


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -1},
        {"temperature": True},
        {"temperature": float("nan")},
        {"top_k": 40.5},
        {"top_p": 1.5},
        {"do_sample": False, "temperature": -1},
        {"do_sample": False, "top_p": "0.9x"},
    ],
)
@pytest.mark.parametrize("engine", [None, "transformers"])
def test_a_wrong_value_is_an_error_where_the_engine_ignores_it(values, engine):
    with pytest.raises(SettingsError, match=f"{list(values)[-1]}="):
        from_settings(values, engine)


@pytest.mark.parametrize("engine", [None, "ollama"])
def test_options_of_ollama_given_twice_are_an_error(engine):
    with pytest.raises(SettingsError, match="temperature is in the options and outside of them"):
        from_settings({"temperature": 0.9, "options": {"temperature": 0.5}}, engine)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_a_setting_that_is_off_by_default_makes_no_stage_of_its_defaults(engine):
    off = [each for each in engine.settings if each.is_off_by_default]
    parameters = [(each.sampler, each.read(*each.keys.values())) for each in off]
    made = [sampler(name, **given) for name, given in parameters if given is not None]
    assert off
    assert [stage for stage in made if not stage.is_neutral] == []
