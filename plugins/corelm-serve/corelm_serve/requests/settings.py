"""Settings of other engines as samplers."""

from __future__ import annotations

from typing import Any

from corelm import EngineSettings, Sampler, from_settings, preset, presets
from corelm.errors import CorelmError, UsageError
from corelm.runs import printable
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.requests.fields import Request
from corelm_serve.requests.trials import try_settings

ENGINE = "vllm"
"""The engine whose order single fields act in; they are OpenAI's and vLLM's."""
ENGINES = ("koboldcpp", "llama.cpp", "mlx-lm", "ollama", "openai", "sillytavern",
           "text-generation-webui", "transformers", "vllm")  # fmt: skip
NEUTRAL: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("repeat_penalty", "rep_pen", "typical_p", "typical", "tfs", "tfs_z"), (1,)),
    **dict.fromkeys(("dry_multiplier", "xtc_probability", "mirostat", "top_a"), (0,)),
    **dict.fromkeys(("dynatemp_range", "smoothing_factor", "no_repeat_ngram_size"), (0,)),
    **dict.fromkeys(("thinking_token_budget", "reasoning_budget_tokens"), (-1,)),
    "adaptive_target": (-1,),
    "top_n_sigma": (-1, 0),
    "penalize_nl": (False,),
}
"""Values that have no effect in any engine with the field."""
_VALUES: tuple[tuple[tuple[Any, ...], str], ...] = (
    (("", [], {}, False, 0), "ignore_eos include_stop_str_in_output use_beam_search echo "
    "return_token_ids return_tokens_as_token_ids continue_final_message priority prompt_logprobs "
    "chat_template_kwargs mm_processor_kwargs vllm_xargs documents stop_token_ids bad_words "
    "chat_template logits_processors kv_transfer_params allowed_token_ids n_probs n_keep n_indent "
    "n_discard min_keep n_cache_reuse lora response_fields grammar json_schema chat_parser verbose "
    "grammar_lazy image_data return_tokens return_progress post_sampling_probs timings_per_token "
    "backend_sampling thinking_forced_open early_stopping logprob_token_ids watermarking "
    "structured_outputs routed_experts_prompt_start return_token_offsets return_prompt_text "
    "ec_transfer_params media_io_kwargs prompt_cache_options reasoning_in_content "
    "generation_prompt preserved_tokens grammar_triggers reasoning_control speculative.n_max "
    "speculative.n_min speculative.p_min"),
    ((True, 1), "add_generation_prompt include_reasoning detokenize skip_special_tokens "
    "spaces_between_special_tokens length_penalty best_of n_cmpl add_special_tokens "
    "stream_interval"),
    ((True, False), "parallel_tool_calls cache_prompt parse_tool_calls return_mm_kwargs"),
    ((-1,), "id_slot n_predict sse_ping_interval"),
    ((-1, 0), "t_max_prompt_ms t_max_predict_ms"),
    (("left", "none", "auto", "Content-only"), "truncation_side reasoning_format chat_format"),
    (("in_memory", "in-memory"), "prompt_cache_retention"),
)  # fmt: skip
UNASKED = {name: values for values, names in _VALUES for name in names.split()}
"""Fields of other servers that this one lacks, with the values that ask for nothing."""
SETTINGS = ("min_tokens", "logit_bias", "repetition_penalty", "frequency_penalty",
            "presence_penalty", "thinking_token_budget", "repetition_detection", "temperature",
            "min_p", "top_k", "top_p")  # fmt: skip
"""The fields that each set one sampler parameter."""


def asks_for_nothing(name: str, value: Any) -> bool:
    """Return True for a field of another server that changes nothing with a value."""
    values = UNASKED.get(name, ())
    is_flag = isinstance(value, bool)  # 0 equals False
    return any(value == each and isinstance(each, bool) == is_flag for each in values)


def is_neutral(name: str, value: Any) -> bool:
    """Return True if a field has no effect with a value."""
    return isinstance(value, (int, float)) and value in NEUTRAL.get(name, ())


def preset_of(name: str) -> Sampler:
    """Return a preset; raise an ApiError if there is none of that name."""
    # Checked here: corelm's own message says if a file of that name exists.
    if name not in presets():
        hint = printable.did_you_mean(name, presets())
        message = (
            f"there is no preset {printable.shown(name)}{hint} (there are: {', '.join(presets())})"
        )
        raise ApiError(message, param="preset", code="invalid_value")
    return preset(name)


def read_settings(request: Request, named: str | None, settings: dict[str, Any]) -> EngineSettings:
    """Build the sampler from a request's fields, in its engine's order.

    Args:
        request: the request, for errors.
        named: the engine; None if the fields decide.
        settings: the fields.

    Raises:
        ApiError: fields that are unknown, or have no counterpart.
    """
    rest = settings.keys() - {*SETTINGS}
    try:
        engine = named or (None if rest else ENGINE)
        try_settings(settings, engine)
        read = from_settings(settings, engine)
        # Keys of several engines at once: the error names them.
    except UsageError as error:
        if named is None and rest:
            raise _without_engine(request, settings, sorted(rest)) from error
        raise as_api_error(error, next(iter(sorted(rest)), None)) from error
    except CorelmError as error:
        raise as_api_error(error, next(iter(sorted(rest)), None)) from error
    for name in [*read.unknown, *read.other]:
        if is_neutral(name, settings[name]):
            continue
        if name not in SETTINGS:
            raise request.unknown_field(name, SETTINGS)
        message = f"{read.engine} has no {name}; leave it or engine out"
        raise ApiError(message, param=name, code="unknown_field")
    for name, reason in read.unsupported.items():
        why = f": {reason}" if reason else ""
        message = f"{name} of {read.engine} has no counterpart in corelm{why}"
        raise ApiError(message, param=name, code="unsupported")
    return read


def _without_engine(request: Request, settings: dict[str, Any], rest: list[str]) -> ApiError:
    """Return the error for fields that don't all belong to one engine."""
    engines = {engine: _names_read(settings, engine) for engine in ENGINES}
    for name in rest:
        if not any(name in names for names in engines.values()):
            return request.unknown_field(name, SETTINGS)
    fitting = [engine for engine, names in engines.items() if names >= {*rest}]
    if not fitting:
        message = f"no engine has all of {', '.join(rest)}; use sampler in their place"
        return ApiError(message, param=rest[0], code="excluded_field")
    example = "llama.cpp" if "llama.cpp" in fitting else fitting[0]
    message = f"name the engine: {', '.join(rest)} may be of {' or '.join(fitting)}, where they "
    message += f'mean different samplers, as in {{"engine": "{example}"}}'
    return ApiError(message, param="engine", code="missing_field")


def _names_read(settings: dict[str, Any], engine: str) -> set[str]:
    """Return the names of the settings that an engine knows."""
    try:
        read = from_settings(settings, engine)
    except CorelmError:  # the engine doesn't accept a value
        return set()
    return settings.keys() - {*read.unknown, *read.other, *read.unsupported}
