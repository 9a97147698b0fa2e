"""The settings of text-generation-webui, presets in YAML, and of SillyTavern, presets in JSON.

Source: text-generation-webui in 2026, modules/presets.py, modules/text_generation.py and
modules/sampler_hijack.py (its loaders on transformers). The cut-offs are in ten-thousandths; the
range of the penalties is 0 or -1 for the whole context; a sampler that the list lacks acts first.

SillyTavern, public/scripts/textgen-settings.js: a preset for text completion. SillyTavern passes it
on to another engine; here it is read as text-generation-webui reads its own, in the order of
`sampler_priority`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelm import Sampler
from corelm_presets.engine_settings.engine import ListingEngine, is_own, switch
from corelm_presets.engine_settings.setting import (
    PROTECTED,
    NoCounterpartError,
    Setting,
    Values,
    Window,
    dry,
    keyed,
    listed_tokens,
    penalty,
    plain,
    texts,
    token_ids,
)

TEN_THOUSAND = 10_000
DIGITS = 12
"""The digits of a cut-off in ten-thousandths: 0.003 x 10,000 has a rounding error."""
BREAKERS = '"\\n", ":", "\\"", "*"'
WINDOW = Window("repetition_penalty_range", 1024)
UNLISTED = (
    "no_repeat_ngram", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "dry", "repetition_penalty", "presence_penalty", "frequency_penalty", "tfs", "top_a",
    "top_n_sigma", "adaptive_p", "xtc", "dynamic_temperature", "quadratic_sampling", "mirostat",
    "temperature",
)  # fmt: skip
"""The order of the samplers that are missing from the list."""


def read_breakers(value: Any) -> list[str]:
    """Parse the breakers: a list, a JSON list, or the items of a JSON list without brackets."""
    if not isinstance(value, str):
        return texts(value)
    # The program reads an input field, in which users type no brackets.
    return texts(json.loads(value if value.lstrip().startswith("[") else f"[{value}]"))


def penalties(keys: Sequence[str], window: Window) -> tuple[Setting, ...]:
    """Return the settings of the repetition, the presence and the frequency penalty."""
    names = ("repetition_penalty", "presence_penalty", "frequency_penalty")
    triples = zip(names, keys, (1.0, 0.0, 0.0), strict=True)
    return tuple(penalty(name, key, off, window, name) for name, key, off in triples)


def dry_of(window: Window, breakers: str) -> Setting:
    """Return the setting of DRY, whose breakers are written as JSON."""
    return dry(
        window, breakers, read_breakers=read_breakers,
        write_breakers=lambda breakers: json.dumps(texts(breakers)),
        when=lambda factor, base: factor > 0,
    )  # fmt: skip


def cutoff(sampler: str, key: str) -> Setting:
    """Return the setting of a cut-off in ten-thousandths."""
    return plain(
        sampler, "epsilon", key, 0,
        read=lambda value: round(value / TEN_THOUSAND, DIGITS),
        write=lambda epsilon: round(epsilon * TEN_THOUSAND, DIGITS),
    )  # fmt: skip


def custom_bans() -> Setting:
    """Return the setting of banned tokens, which are comma-separated ids."""
    return plain(
        "ban", "words", "custom_token_bans", "", place="",
        read=listed_tokens, write=lambda words: ",".join(map(str, token_ids(words))),
    )  # fmt: skip


def dynamic(switch: str, low: str, high: str, lowest: float, highest: float) -> Setting:
    """Return the setting of the dynamic temperature.

    Args:
        switch: the key that switches it on.
        low, high: the keys of its ends.
        lowest, highest: the defaults of the ends.
    """
    return keyed(
        "dynamic_temperature",
        {switch: False, low: lowest, high: highest, "dynatemp_exponent": 1.0},
        "dynamic_temperature",
        off=False, when=lambda on, *_: on is True, on={switch: True},
        t_min=low, t_max=high, exponent="dynatemp_exponent",
    )  # fmt: skip


QUADRATIC = keyed(
    "quadratic", {"smoothing_factor": 0.0, "smoothing_curve": 1.0}, "quadratic_sampling",
    factor="smoothing_factor", curve="smoothing_curve",
)  # fmt: skip
ADAPTIVE = keyed(
    "adaptive_p", {"adaptive_target": 0.0, "adaptive_decay": 0.9}, "adaptive_p",
    target="adaptive_target", decay="adaptive_decay",
)  # fmt: skip
XTC = keyed(
    "xtc", {"xtc_probability": 0.0, "xtc_threshold": 0.1}, "xtc",
    fixed={"special": PROTECTED}, probability="xtc_probability", threshold="xtc_threshold",
)  # fmt: skip
MIROSTAT = keyed(
    "mirostat", {"mirostat_mode": 0, "mirostat_tau": 5, "mirostat_eta": 0.1}, "mirostat",
    when=lambda version, *_: version == 2, on={"mirostat_mode": 2},
    tau="mirostat_tau", eta="mirostat_eta",
)  # fmt: skip
FILTERS = (
    plain("top_k", "k", "top_k", 0),
    plain("top_p", "p", "top_p", 1.0),
    plain("typical", "p", "typical_p", 1.0),
    cutoff("epsilon", "epsilon_cutoff"),
    cutoff("eta", "eta_cutoff"),
    keyed("tail_free", {"tfs": 1.0}, "tfs", off=1.0, when=lambda z: bool(0 <= z < 1), z="tfs"),
    keyed("top_a", {"top_a": 0.0}, "top_a", off=0.0, when=lambda a: bool(0 < a <= 1), a="top_a"),
    plain("min_p", "p", "min_p", 0.0),
)
NO_REPEAT = plain("no_repeat_ngram", "n", "no_repeat_ngram_size", 0, place="no_repeat_ngram")
AFTER_TEMPERATURE = (QUADRATIC, *FILTERS, ADAPTIVE, MIROSTAT, XTC, NO_REPEAT)
"""The settings after the temperature, which SillyTavern has under the same keys."""
DIFFERENCES = {
    "xtc": ("xtc_probability", "there a line break or an end that it would remove switches it off")
}
LATE = ("temperature", "dynamic_temperature", "quadratic_sampling")
"""The samplers that `temperature_last` moves to the end."""


@dataclass(frozen=True, eq=False)
class PriorityEngine(ListingEngine):
    """An engine with text-generation-webui's `sampler_priority`."""

    @property
    def sampler_keys(self) -> frozenset[str]:
        return super().sampler_keys | {"temperature_last"}

    def inexact(self, stages: Sequence[Sampler]) -> Mapping[str, str]:
        notes, removed = dict(super().inexact(stages)), False
        for stage in stages:
            if removed and is_own(stage, "top_n_sigma"):
                [key] = next(each.keys for each in self.settings if each.sampler == "top_n_sigma")
                notes[key] = "there it counts a token that an earlier stage removed as a logit of 0"
            removed = removed or stage.kind in ("filter", "mask")
        return notes

    def names(self, listed: Any) -> list[str]:
        if isinstance(listed, str):
            return [
                name for line in listed.splitlines() for name in line.split(",") if name.strip()
            ]
        return texts(listed)

    def acting(self, values: Values) -> Sequence[Setting]:
        places = self.listed(values)
        places = self.places if places is None else places
        # It overrides the list, in which the temperature may come first.
        if switch(values, "temperature_last"):
            places = [*(p for p in places if p not in LATE), *LATE]
        # An older preset lists fewer samplers than there are now; the others act before the list.
        settings = self.whole([*(p for p in UNLISTED if p not in places), *places])
        allowed = super().acting(values)
        return [setting for setting in settings if setting in allowed]

    def arranged(self, used: Sequence[Setting]) -> Values:
        order = self.listed_order(used)
        # A sampler missing from the list acts first, so list samplers that are off too.
        return {self.list_key: [*order, *(p for p in self.places if p not in order)]}


@dataclass(frozen=True, eq=False)
class TextGenerationWebui(PriorityEngine):
    """text-generation-webui, whose presets are YAML with the list as a text of lines."""

    def to_words(self, values: Values) -> Values:
        return {**values, self.list_key: "\n".join(values[self.list_key])}

    def text(self, values: Values) -> str:
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


WEBUI: TextGenerationWebui = TextGenerationWebui(
    "text-generation-webui",
    (
        custom_bans(),
        *penalties(("repetition_penalty", "presence_penalty", "frequency_penalty"), WINDOW),
        dry_of(WINDOW, BREAKERS),
        keyed("top_n_sigma", {"top_n_sigma": 0.0}, "top_n_sigma", n="top_n_sigma"),
        plain("temperature", "t", "temperature", 1.0),
        dynamic("dynamic_temperature", "dynatemp_low", "dynatemp_high", 1.0, 1.0),
        *AFTER_TEMPERATURE,
    ),
    unsupported={
        "encoder_repetition_penalty": 1,
        "penalty_alpha": 0,
        "guidance_scale": 1,
        "grammar_string": "",
        "ban_eos_token": False,
    },
    other=(
        "max_new_tokens max_tokens seed truncation_length stopping_strings "
        "add_bos_token skip_special_tokens stream auto_max_new_tokens max_tokens_second "
        "negative_prompt prompt_lookup_num_tokens static_cache preset mode character "
        "instruction_template messages prompt stop n"
    ),
    switch="do_sample",
    differences=DIFFERENCES,
    list_key="sampler_priority",
    foreign=frozenset({"encoder_repetition_penalty"}),
)


SILLYTAVERN_BREAKERS = '["\\n", ":", "\\"", "*"]'


def _read_bans(lines: str) -> tuple[int, ...] | None:
    """Read one ban per line: a JSON list of token ids, or words, which depend on the tokenizer."""
    ids: list[int] = []
    for line in filter(None, lines.split("\n")):
        if not (line.startswith("[") and line.endswith("]")):
            raise NoCounterpartError("corelm takes lines of token ids here, such as [15, 16]")
        ids += json.loads(line)
    return listed_tokens(",".join(map(str, ids)))


SILLYTAVERN: PriorityEngine = PriorityEngine(
    "sillytavern",
    (
        plain(
            "ban",
            "words",
            "banned_tokens",
            "",
            place="",
            read=_read_bans,
            write=lambda words: json.dumps(token_ids(words)),
        ),
        *penalties(("rep_pen", "presence_pen", "freq_pen"), Window("rep_pen_range", 0)),
        dry_of(Window("rep_pen_range", 0), SILLYTAVERN_BREAKERS),
        keyed("top_n_sigma", {"nsigma": 0.0}, "top_n_sigma", n="nsigma"),
        keyed(
            "temperature",
            {"temp": 1.0, "dynatemp": False},
            "temperature",
            off=1.0,
            t="temp",
            # Otherwise the chain would apply both temperatures.
            when=lambda _, dynamic: dynamic is not True,
        ),
        dynamic("dynatemp", "min_temp", "max_temp", 0.0, 2.0),
        *AFTER_TEMPERATURE,
    ),
    differences=DIFFERENCES,
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
    ignored="dry_penalty_last_n",  # the range of the penalties is that of DRY
    list_key="sampler_priority",
    foreign=frozenset({"encoder_repetition_penalty"}),
)
