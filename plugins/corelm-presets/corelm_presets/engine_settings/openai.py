"""The settings of OpenAI's requests, and of vLLM and mlx-lm, whose servers take them too.

Source: the reference of OpenAI's API, "Create chat completion" and "Create completion". Both
penalties count the tokens that were drawn. The order is vLLM's: OpenAI doesn't publish its own.

vLLM in 2026, `SamplingParams` in vllm/sampling_params.py, and vllm/v1/sample/sampler.py. The
repetition penalty counts the prompt, the other two do not.

mlx-lm 0.32, `make_logits_processors` and `make_sampler` in sample_utils.py, and server.py. A
repetition penalty of 0 is off; a context size of 0 is the whole context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corelm.errors import ParameterError
from corelm_presets.engine_settings.engine import Engine
from corelm_presets.engine_settings.setting import (
    PROTECTED,
    NoCounterpartError,
    Setting,
    Values,
    finite_biases,
    keyed,
    nones,
    plain,
    thinking_budget,
    token_ids,
)

LARGEST_BIAS = 100


def _write_biases(bias: Any) -> dict[str, float]:
    numbers = {str(i): bias[i] for i in token_ids(bias)}
    if any(abs(number) > LARGEST_BIAS for number in numbers.values()):
        raise NoCounterpartError(f"a bias is between -{LARGEST_BIAS} and {LARGEST_BIAS} there")
    return numbers


LOGIT_BIAS = plain(
    "logit_bias", "bias", "logit_bias", default=(), read=finite_biases, write=_write_biases
)
PENALTIES = (
    plain("frequency_penalty", "penalty", "frequency_penalty", 0.0, fixed={"skip_prompt": True}),
    plain("presence_penalty", "penalty", "presence_penalty", 0.0, fixed={"skip_prompt": True}),
)
TEMPERATURE = plain("temperature", "t", "temperature", 1.0)
TOP_P = plain("top_p", "p", "top_p", 1.0)
UNSUPPORTED: Values = {"response_format": None, "best_of": 1}
OTHER = (
    "model messages prompt seed stop max_tokens max_completion_tokens n stream stream_options "
    "logprobs top_logprobs user suffix echo tools tool_choice parallel_tool_calls store metadata "
    "service_tier reasoning_effort verbosity modalities prediction functions function_call "
    "prompt_cache_key safety_identifier"
)

OPENAI: Engine = Engine("openai", (LOGIT_BIAS, *PENALTIES, TEMPERATURE, TOP_P), UNSUPPORTED, OTHER)


LOWEST = 1e-5
"""The temperature below which vLLM is greedy."""

LOOPS = "corelm-break-loop:break_loop"
"""The counterpart of vLLM's `repetition_detection`."""
LOOP = ("max_pattern_size", "min_pattern_size", "min_count")
"""The keys in it; each is 0 by default."""


def _read_loop(detection: Any) -> Values | None:
    if not {*LOOP}.issuperset(detection):
        raise ParameterError(f"its keys are {', '.join(LOOP)}")
    longest, shortest, times = (detection.get(key) or 0 for key in LOOP)
    if longest and shortest > longest:
        raise ParameterError(f"min_pattern_size must be at most max_pattern_size, {longest}")
    bounds = {"times": times, "shortest": shortest or 1, "longest": longest}
    return {"end": True, **bounds} if longest else None


def _write_loop(stage: Any) -> Values:
    sizes = (stage.longest, stage.shortest, stage.times)
    return {"repetition_detection": dict(zip(LOOP, sizes, strict=True))}


VLLM: Engine = Engine(
    "vllm",
    (
        plain("min_length", "n", "min_tokens", 0),
        LOGIT_BIAS,
        plain("repetition_penalty", "penalty", "repetition_penalty", 1.0),
        *PENALTIES,
        thinking_budget("thinking_token_budget"),
        Setting(LOOPS, {"repetition_detection": {}}, {}, _read_loop, _write_loop),
        plain("temperature", "t", "temperature", 1.0, read=lambda t: 0 if 0 <= t < LOWEST else t),
        plain("min_p", "p", "min_p", 0.0),
        plain("top_k", "k", "top_k", 0, read=lambda k: 0 if k == -1 else k),  # both are off
        TOP_P,
    ),
    unsupported={
        **UNSUPPORTED,
        "bad_words": (),
        **nones("allowed_token_ids structured_outputs"),
        **nones("guided_json guided_regex guided_choice guided_grammar"),
        "ignore_eos": False,
        "use_beam_search": False,
        **nones("extra_args vllm_xargs"),
    },
    other=OTHER
    + (
        " stop_token_ids prompt_logprobs detokenize skip_special_tokens "
        "spaces_between_special_tokens include_stop_str_in_output output_kind "
        "truncate_prompt_tokens stream_interval flat_logprobs logprob_token_ids skip_clone "
        "skip_reading_prefix_cache add_generation_prompt continue_final_message chat_template "
        "chat_template_kwargs priority length_penalty"
    ),
    differences={LOOPS: ("repetition_detection", "here it may end a text before min_tokens")},
)


LAST = 20
"""The default window of mlx-lm's penalties, in tokens."""


def _penalty(name: str) -> Setting:
    key, size = name, name.replace("penalty", "context_size")
    return keyed(name, {key: 0.0, size: LAST}, off=0.0, when=_is_on, penalty=key, last=size)


def _is_on(value: float, *_: float) -> bool:
    return value != 0


def _write_xtc(stage: Any) -> Values:
    values = {"xtc_probability": stage.probability, "xtc_threshold": stage.threshold}
    if stage.special != PROTECTED:
        values["xtc_special_tokens"] = token_ids(stage.special)
    return values


@dataclass(frozen=True, eq=False)
class MlxLm(Engine):
    """mlx-lm, which at temperature 0 takes the most likely token and skips its other samplers."""

    def heeded(self, values: Values) -> Values:
        if values.get("temperature") not in (None, 0):
            return values
        # Only this sampler before it could change which token is likeliest.
        return {key: value for key, value in values.items() if key != "xtc_probability"}


MLX_LM: MlxLm = MlxLm(
    "mlx-lm",
    (
        LOGIT_BIAS,
        # Each penalty has a window of its own, unlike llama.cpp's.
        _penalty("repetition_penalty"),
        _penalty("presence_penalty"),
        _penalty("frequency_penalty"),
        keyed("top_p", {"top_p": 1.0}, off=1.0, when=_is_on, p="top_p"),  # 0 is off, as 1 is
        plain("min_p", "p", "min_p", 0.0),
        Setting(
            "xtc",
            {"xtc_probability": 0.0, "xtc_threshold": 0.1, "xtc_special_tokens": PROTECTED},
            {"xtc_probability": 0.0},
            lambda *values: dict(
                zip(("probability", "threshold", "special"), values, strict=True)
            ),
            _write_xtc,
        ),
        plain("top_k", "k", "top_k", 0),
        plain("temperature", "t", "temperature", 1.0, default=0.0),
    ),
    unsupported={"min_tokens_to_keep": 1},
    other="seed stop max_tokens max_completion_tokens stream stream_options logprobs top_logprobs "
    "draft_model num_draft_tokens adapters chat_template_kwargs role_mapping "
    "max_kv_size kv_bits kv_group_size quantized_kv_start prompt_cache_file system_prompt verbose",
    differences={"xtc": (
        "xtc_probability", "a line break or an end may be the only good token that stays there"
    )},
    spellings={"temp": "temperature"},  # in make_sampler and on the command line
)  # fmt: skip
