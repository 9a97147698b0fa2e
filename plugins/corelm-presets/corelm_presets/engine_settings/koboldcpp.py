"""The settings of KoboldCpp: the body of a request to /api/v1/generate in JSON.

Source: KoboldCpp in 2026, generate() in its Python server and SampleLogits in gpttype_adapter.cpp.
Biases and DRY act first, XTC and adaptive-p last, the others in the order of `sampler_order`. There
a ban is a bias of -100, and only the 3,000 most likely tokens are sampled from; corelm's ban is
complete, and its chain has all tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from corelm_presets.engine_settings import llama_cpp
from corelm_presets.engine_settings import text_generation_webui as webui
from corelm_presets.engine_settings.engine import ListingEngine
from corelm_presets.engine_settings.setting import (
    NoCounterpartError,
    Setting,
    Values,
    Window,
    check_that_prompt_counts,
    dry,
    finite_biases,
    keyed,
    plain,
    token_ids,
)

LAST = 320
WHOLE = 1_000_000
"""The window of a penalty over all tokens: longer than any context."""
LARGEST_BIAS = 100.0
MOST_PLACES = 7
"""The longest list of samplers; KoboldCpp ignores a longer or an empty one."""
FORCED_MIN_P = 0.002
"""The p of the min_p that KoboldCpp puts before adaptive_p if no filter is before it."""


def _finite(biases: Mapping[str, Any]) -> dict[int, float] | None:
    pairs = (finite_biases(biases) or {}).items()
    return {i: min(max(bias, -LARGEST_BIAS), LARGEST_BIAS) for i, bias in pairs} or None


def _penalty(name: str, key: str, off: float) -> Setting:
    keys = {key: off, "rep_pen_range": LAST, "rep_pen_slope": 1.0}

    def read(value: float, last: int, slope: float) -> Values | None:
        # Outside of 0 to 1 a slope is 1 there, and a window has at least one token.
        if name == "repetition_penalty" and value > 1 and 0 < slope < 1:
            raise NoCounterpartError("corelm's penalty is the same in the whole window")
        return {"penalty": value, "last": 0 if last >= WHOLE else max(last, 1)}

    def write(stage: Any) -> Values:
        check_that_prompt_counts(stage)
        return {key: stage.penalty, "rep_pen_range": stage.last or WHOLE, "rep_pen_slope": 1.0}

    return Setting(name, keys, {key: off}, read, write, "6")


def _read_dynamic(middle: float, half: float, exponent: float) -> Values | None:
    if half == 0:
        return None
    low, high = (round(max(end, 0), llama_cpp.DIGITS) for end in (middle - half, middle + half))
    return {"t_min": low, "t_max": high, "exponent": max(exponent, 0)}


FIRST = (
    plain(
        "logit_bias", "bias", "logit_bias", default={}, place="",
        read=_finite, write=lambda bias: {str(i): bias[i] for i in token_ids(bias)},
    ),
    webui.custom_bans(),
    dry(
        Window("dry_penalty_last_n", LAST, read=lambda last: max(last, 0)), (), place="",
        read_breakers=webui.read_breakers, when=lambda factor, base: factor > 0 and base > 0,
    ),
)  # fmt: skip
PENALTIES = (
    _penalty("repetition_penalty", "rep_pen", 1.0),
    _penalty("presence_penalty", "presence_penalty", 0.0),
)
TEMPERATURE = replace(
    llama_cpp.SAMPLERS["temperature"], keys={"temperature": 0.75, "dynatemp_range": 0.0}, place="5",
    read=lambda middle, half: {"t": max(middle, 0)} if half == 0 else None,
)  # fmt: skip
QUADRATIC = replace(webui.QUADRATIC, place="5")
LISTED = (
    *PENALTIES,
    replace(llama_cpp.SAMPLERS["top_k"], keys={"top_k": 100}, place="0"),
    keyed("top_a", {"top_a": 0.0}, "1", a="top_a"),
    plain("tail_free", "z", "tfs", 1.0, place="3", read=lambda z: min(1, max(z, 0))),
    plain("typical", "p", "typical", 1.0, place="4"),
    plain("top_p", "p", "top_p", 1.0, default=0.92, place="2"),
    plain("min_p", "p", "min_p", 0.0, place="2"),
    TEMPERATURE,
    replace(
        llama_cpp.SAMPLERS["dynamic_temperature"],
        read=_read_dynamic,
        place="5",
        keys={"temperature": 0.75, "dynatemp_range": 0.0, "dynatemp_exponent": 1.0},
    ),
    QUADRATIC,
    keyed("top_n_sigma", {"nsigma": 0.0}, "5", n="nsigma"),
)
ADAPTIVE = keyed(
    "adaptive_p", {"adaptive_target": -1.0, "adaptive_decay": 0.9}, off=-1.0,
    target="adaptive_target", decay="adaptive_decay",
)  # fmt: skip
LATE = (
    replace(
        llama_cpp.SAMPLERS["xtc"], keys={"xtc_probability": 0.0, "xtc_threshold": 0.2}, place=""
    ),
    ADAPTIVE,
)
MIROSTAT = llama_cpp.MIROSTAT


def is_request(values: Values) -> bool:
    """Return True for a request to KoboldCpp, whose keys resemble SillyTavern's."""
    own_keys = {"rep_pen", "rep_pen_range", "sampler_order", "max_context_length"}
    is_own = own_keys & values.keys() or {"prompt", "max_length"} <= values.keys()
    return bool(is_own) and "temperature" in values and "temp" not in values


@dataclass(frozen=True, eq=False)
class KoboldCpp(ListingEngine):
    """KoboldCpp, whose list has the samplers' numbers."""

    def from_words(self, values: Values) -> Values:
        target, top_p = (values.get(key, 0) for key in ("adaptive_target", "top_p"))
        if not all(isinstance(number, (int, float)) for number in (target, top_p)):
            return values
        # KoboldCpp puts a filter before adaptive_p if the request has none.
        unfiltered = top_p >= 1 and values.get("min_p") in (None, 0)
        return {**values, "min_p": FORCED_MIN_P} if target > 0 and unfiltered else values

    def names(self, listed: Any) -> list[str]:
        if not all(isinstance(number, int) for number in listed):
            raise TypeError
        return [str(number) for number in listed]

    def listed(self, values: Values) -> list[str] | None:
        names = super().listed(values)
        return names if names and len(values[self.list_key]) <= MOST_PLACES else None

    def whole(self, places: Sequence[str]) -> list[Setting]:
        return [*FIRST, *self.at(places), *LATE]

    def heeded(self, values: Values) -> Values:
        return llama_cpp.heeded_with_mirostat(values)

    def acting(self, values: Values) -> Sequence[Setting]:
        if values.get("mirostat") not in (None, 0):
            return [*FIRST, *PENALTIES, TEMPERATURE, QUADRATIC, MIROSTAT]
        places = self.listed(values)
        return self.whole(self.places if places is None else places)

    def arranged(self, used: Sequence[Setting]) -> Values:
        if MIROSTAT in used:
            llama_cpp.check_with_mirostat(self, used)
            return {}
        return {self.list_key: [int(place) for place in self.listed_order(used)]}


ENGINE: KoboldCpp = KoboldCpp(
    "koboldcpp",
    (*FIRST, *LISTED, *LATE, MIROSTAT),
    differences={"tail_free": ("tfs", "it keeps one token fewer there")},
    unsupported={
        "grammar": "",
        "ban_eos_token": False,
        "use_default_badwordsids": False,
        "guidance_scale": 1.0,
        "banned_tokens": [],
        "banned_strings": [],
        "reasoning_effort": "",
    },
    other=(
        "prompt memory images audio max_context_length max_length sampler_seed stop_sequence "
        "trim_stop genkey render_special bypass_eos negative_prompt grammar_retain_state logprobs "
        "quiet n model adapter frmttriminc frmtrmblln frmtrmspch singleline"
    ),
    list_key="sampler_order",
    repeats=True,
    listed_as="numbers",
)
