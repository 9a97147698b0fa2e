"""The settings of SillyTavern: a preset for text completion, in JSON.

Source: SillyTavern, public/scripts/textgen-settings.js. SillyTavern passes a preset on to another
engine; this reads it as text-generation-webui does, in the order of `sampler_priority`.
"""

from __future__ import annotations

import json

from corelm.interop.engine_settings import biases
from corelm.interop.engine_settings import text_generation_webui as webui
from corelm.interop.engine_settings.engine import NoCounterpartError, Setting, Values

BREAKERS = '["\\n", ":", "\\"", "*"]'


def _temperature() -> Setting:
    """Return the setting of the temperature, which the dynamic one replaces."""
    return Setting(
        "temperature",
        {"temp": 1.0, "dynatemp": False},
        {"temp": 1.0},
        # Without this, the chain would apply both temperatures.
        lambda t, dynamic: None if dynamic is True else {"t": t},
        lambda stage: {"temp": stage.t},
        "temperature",
    )


def _read_bans(lines: str) -> Values | None:
    """Read one ban a line: a list of token ids in JSON, or words in the user's own tokenizer."""
    ids: list[int] = []
    for line in filter(None, lines.split("\n")):
        if not (line.startswith("[") and line.endswith("]")):
            raise NoCounterpartError("corelm takes lines of token ids here, such as [15, 16]")
        ids += json.loads(line)
    return biases.listed(",".join(map(str, ids)))


ENGINE = webui.PriorityEngine(
    "sillytavern",
    (
        Setting(
            "ban",
            {"banned_tokens": ""},
            {"banned_tokens": ""},
            _read_bans,
            lambda stage: {"banned_tokens": json.dumps(biases.ids(stage.words))},
        ),
        webui.penalty("repetition_penalty", "rep_pen", 1.0, "rep_pen_range"),
        webui.penalty("presence_penalty", "presence_pen", 0.0, "rep_pen_range"),
        webui.penalty("frequency_penalty", "freq_pen", 0.0, "rep_pen_range"),
        webui.dry("dry_penalty_last_n", 0, BREAKERS),
        webui.above_zero("top_n_sigma", "top_n_sigma", {"nsigma": 0.0}, n="nsigma"),
        _temperature(),
        webui.dynamic("dynatemp", "min_temp", "max_temp", 0.0, 2.0),
        webui.QUADRATIC,
        *webui.FILTERS,
        webui.ADAPTIVE,
        webui.mirostat(),
        webui.XTC,
        webui.NO_REPEAT,
    ),
    unsupported={
        "encoder_rep_pen": 1,
        "penalty_alpha": 0,
        "guidance_scale": 1,
        "num_beams": 1,
        "min_length": 0,
        "skew": 0,
        "rep_pen_decay": 0,
        "grammar_string": "",
        "json_schema": {},
        "logit_bias": [],
        "ban_eos_token": False,
        "ignore_eos_token": False,
        "min_keep": 0,
    },
    other=(
        "rep_pen_slope rep_pen_size length_penalty "
        "early_stopping max_tokens_second seed preset add_bos_token stopping_strings "
        "skip_special_tokens streaming negative_prompt samplers samplers_priorities sampler_order "
        "spaces_between_special_tokens speculative_ngram type n custom_model genamt max_length "
        "bypass_status_check openrouter_allow_fallbacks openrouter_providers legacy_api "
        "server_urls"
    ),
    switch="do_sample",
    list_key="sampler_priority",
    foreign=frozenset({"encoder_repetition_penalty"}),
)
