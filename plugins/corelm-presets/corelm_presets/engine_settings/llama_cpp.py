"""The settings of llama.cpp's server: the body of a request in JSON.

Source: llama.cpp in 2026, tools/server/server-schema.cpp and common_sampler_init in
common/sampling.cpp. Mirostat replaces every sampler but the biases and the temperature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from corelm import Sampler
from corelm.errors import SettingsError
from corelm_presets.engine_settings.engine import Engine, ListingEngine
from corelm_presets.engine_settings.setting import (
    NoCounterpartError,
    Setting,
    Values,
    Window,
    banned_tokens,
    dry,
    finite_biases,
    keyed,
    penalty,
    plain,
    texts,
    thinking_budget,
    token_ids,
)

LAST = 64
DIGITS = 9
"""The digits of a dynamic temperature's ends; computed from middle and range, they have rounding
errors."""
TINY = 1e-9
"""The p of `typical` that keeps one token, as 0 does in llama.cpp."""
BREAKERS = ("\n", ":", '"', "*")
LETTERS = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
    "a": "adaptive_p",
    "i": "infill",
}
"""The sampler for each letter of a list of letters."""


# Servers built later in 2026 refuse -1 with an error, so it is never misread.
_LAST = Window("repeat_last_n", LAST, off=0, write=lambda last: last or -1)
_LAST_OF_DRY = replace(_LAST, key="dry_penalty_last_n")


def _some(breakers: Sequence[str]) -> list[str]:
    if not breakers:
        raise NoCounterpartError("sequence_breakers are needed there, such as ['\\n']")
    return list(breakers)


def _read_temperature(middle: float, half: float) -> Values | None:
    # A range that ends at 0 or below is greedy too.
    return {"t": max(middle, 0)} if half <= 0 or middle + half <= 0 else None


def _read_dynamic(middle: float, half: float, exponent: float) -> Values | None:
    if half <= 0 or middle + half <= 0:
        return None
    # As in llama.cpp, the range is cut off at 0.
    low, high = round(max(middle - half, 0), DIGITS), round(middle + half, DIGITS)
    return {"t_min": low, "t_max": high, "exponent": exponent}


def _write_dynamic(stage: Any) -> Values:
    return {
        "temperature": (stage.t_min + stage.t_max) / 2,
        "dynatemp_range": (stage.t_max - stage.t_min) / 2,
        "dynatemp_exponent": stage.exponent,
    }


def _clipped(p: float) -> float:
    """Return the p of a filter as llama.cpp takes it: the nearer of 0 and 1 outside them."""
    return min(max(p, 0.0), 1.0)


def _is_second(version: int, *_: Any) -> bool:
    if version not in (0, 2):  # the first estimates the exponent of Zipf's law, unlike corelm's
        raise NoCounterpartError("corelm has version 2")
    return version == 2


SETTINGS = (
    plain(
        "logit_bias", "bias", "logit_bias", default=(), place="",
        read=finite_biases, write=lambda bias: [[i, bias[i]] for i in token_ids(bias)],
    ),
    plain(
        "ban", "words", "logit_bias", default=(), place="",
        read=banned_tokens, write=lambda words: [[i, False] for i in token_ids(words)],
    ),
    thinking_budget("reasoning_budget_tokens", "reasoning_budget_message"),
    penalty("repetition_penalty", "repeat_penalty", 1.0, _LAST, "penalties"),
    penalty("frequency_penalty", "frequency_penalty", 0.0, _LAST, "penalties"),
    penalty("presence_penalty", "presence_penalty", 0.0, _LAST, "penalties"),
    dry(_LAST_OF_DRY, BREAKERS, write_breakers=_some),  # the server refuses an empty list
    keyed("top_n_sigma", {"top_n_sigma": -1.0}, "top_n_sigma", off=-1.0, n="top_n_sigma"),
    keyed("top_k", {"top_k": 40}, "top_k", k="top_k"),
    plain("typical", "p", "typical_p", 1.0, place="typ_p", read=lambda p: _clipped(p) or TINY),
    plain("top_p", "p", "top_p", 1.0, default=0.95, read=_clipped),
    plain("min_p", "p", "min_p", 0.0, default=0.05, read=_clipped),
    keyed(
        "xtc", {"xtc_probability": 0.0, "xtc_threshold": 0.1}, "xtc", off=0.0,
        # Two tokens can't both have more than half of the probability.
        when=lambda probability, threshold: bool(probability > 0 and threshold <= 0.5),
        probability="xtc_probability", threshold="xtc_threshold",
    ),
    Setting(
        "temperature",
        {"temperature": 0.8, "dynatemp_range": 0.0},
        {"temperature": 1.0},
        _read_temperature,
        lambda stage: {"temperature": stage.t},
        "temperature",
    ),
    Setting(
        "dynamic_temperature",
        {"temperature": 0.8, "dynatemp_range": 0.0, "dynatemp_exponent": 1.0},
        {"dynatemp_range": 0.0},
        _read_dynamic,
        _write_dynamic,
        "temperature",
    ),
)  # fmt: skip
SAMPLERS = {setting.sampler: setting for setting in SETTINGS}
MIROSTAT = keyed(
    "mirostat", {"mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1},
    when=_is_second, on={"mirostat": 2}, tau="mirostat_tau", eta="mirostat_eta",
)  # fmt: skip
ADAPTIVE = keyed(
    "adaptive_p", {"adaptive_target": -1.0, "adaptive_decay": 0.9}, "adaptive_p",
    off=-1.0, when=lambda target, _: bool(target >= 0),
    target="adaptive_target", decay="adaptive_decay",
)  # fmt: skip


DRY_OF_FLAGS: Setting = dry(_LAST_OF_DRY, BREAKERS)
"""DRY on a command line, where the list of breakers may be empty."""


LEAVES_THE_IMPOSSIBLE = ("ban", "top_n_sigma")
"""Samplers whose removed tokens stay among llama.cpp's candidates, at minus infinity."""
DROPS_THE_IMPOSSIBLE = ("top_p", "min_p")
COUNTS_THE_IMPOSSIBLE = {"typical": "typical_p", "dynamic_temperature": "dynatemp_range"}
"""Samplers that count these candidates, and their keys."""


def check_with_mirostat(engine: Engine, used: Sequence[Setting]) -> None:
    """Raise if an engine with mirostat ignores a setting, or has another order."""
    order = engine.acting({"mirostat": 2})
    *others, last = [setting.sampler for setting in order if setting is not MIROSTAT]
    for setting in used:
        if setting not in order:
            raise SettingsError(
                f"{setting.sampler} cannot act in {engine.name} with mirostat, which replaces "
                f"every sampler but {', '.join(others)} and {last}"
            )
    for before, after in pairwise(used):
        engine.check_order(before, after, order)


def heeded_with_mirostat(values: Values) -> Values:
    """Return the values without the temperature's range, which has no effect with mirostat."""
    if values.get("mirostat") in (None, 0):
        return values
    return {key: value for key, value in values.items() if key != "dynatemp_range"}


@dataclass(frozen=True, eq=False)
class LlamaCpp(ListingEngine):
    """llama.cpp: a list of samplers in any order, or mirostat alone."""

    def heeded(self, values: Values) -> Values:
        return heeded_with_mirostat(values)

    def inexact(self, stages: Sequence[Sampler]) -> Mapping[str, str]:
        reasons, earlier = dict(super().inexact(stages)), None
        for name in (stage.name.rpartition(":")[2] for stage in stages):
            if name in LEAVES_THE_IMPOSSIBLE:
                earlier = name
            elif name in DROPS_THE_IMPOSSIBLE:
                earlier = None
            elif earlier and name in COUNTS_THE_IMPOSSIBLE:
                key = COUNTS_THE_IMPOSSIBLE[name]
                reasons[key] = f"there it also counts the tokens that {earlier} has removed"
        return reasons

    def acting(self, values: Values) -> Sequence[Setting]:
        # Biases and bans have no name in the list: llama.cpp applies them before all samplers.
        always = [s for s in self.settings if not s.place and s is not MIROSTAT]
        if values.get("mirostat") not in (None, 0):
            temperature = next(s for s in self.settings if s.sampler == "temperature")
            return [*always, temperature, MIROSTAT]
        places = self.listed(values)
        if places is None:
            places = [p for p in self.places if p != ADAPTIVE.place]
        # Adaptive-p draws the token, so it acts last wherever it is listed.
        if ADAPTIVE.place in places:
            places = [*(p for p in places if p != ADAPTIVE.place), ADAPTIVE.place]
        return [*always, *self.at(places)]

    def names(self, listed: Any) -> list[str]:
        return [LETTERS[x] for x in listed] if isinstance(listed, str) else texts(listed)

    def arranged(self, used: Sequence[Setting]) -> Values:
        if MIROSTAT in used:
            check_with_mirostat(self, used)
            return {}
        places = self.listed_order(used)
        return {self.list_key: [p for p in places if ADAPTIVE in used or p != ADAPTIVE.place]}


ENGINE: LlamaCpp = LlamaCpp(
    "llama.cpp",
    (*SETTINGS, ADAPTIVE, MIROSTAT),
    unsupported={
        "ignore_eos": False,
        "min_keep": 0,
        "grammar": "",
        "json_schema": {},
        "n_indent": 0,
        "reasoning_budget_start_tag": "<think>",
        "reasoning_budget_end_tag": "</think>",
        "reasoning_budget_end_tags": ["</think>"],
    },
    other=(
        "seed n_predict stop stream n_probs n_keep n_discard prompt cache_prompt id_slot "
        "return_tokens return_progress timings_per_token post_sampling_probs response_fields lora "
        "t_max_predict_ms n_cmpl n_cache_reuse grammar_lazy backend_sampling reasoning_control "
        "reasoning_format"
    ),
    # The server's names of other programs' keys, and llama-cpp-python's of llama.cpp's.
    spellings={
        "max_tokens": "n_predict",
        "max_completion_tokens": "n_predict",
        "temp": "temperature",
        "mirostat_mode": "mirostat",
        "thinking_budget_tokens": "reasoning_budget_tokens",
    },
    differences={
        "force": ("reasoning_budget_tokens", "there it first completes a character of many tokens")
    },
    list_key="samplers",
    repeats=True,
    list_spellings={
        "typical_p": "typ_p",
        "typical": "typ_p",
        "typ": "typ_p",
        "nucleus": "top_p",
        "temp": "temperature",
    },
)
