"""The settings of vLLM: `SamplingParams`, and the body of a request to its server.

Source: vLLM in 2026, vllm/sampling_params.py and vllm/v1/sample/sampler.py. The repetition penalty
counts the prompt, the other two do not.
"""

from __future__ import annotations

from corelm.interop.engine_settings import openai
from corelm.interop.engine_settings.engine import Engine, Setting, plain

LOWEST = 1e-5
"""Below this temperature vLLM is greedy."""

ENGINE = Engine(
    "vllm",
    (
        plain("min_length", "n", "min_tokens", 0),
        openai.LOGIT_BIAS,
        plain("repetition_penalty", "penalty", "repetition_penalty", 1.0),
        *openai.PENALTIES,
        Setting(
            "temperature",
            {"temperature": 1.0},
            {"temperature": 1.0},
            lambda t: {"t": 0 if 0 <= t < LOWEST else t},
            lambda stage: {"temperature": stage.t},
        ),
        plain("min_p", "p", "min_p", 0.0),
        Setting(
            "top_k",
            {"top_k": 0},
            {"top_k": 0},
            lambda k: {"k": 0 if k == -1 else k},  # both are off there
            lambda stage: {"top_k": stage.k},
        ),
        openai.TOP_P,
    ),
    unsupported={
        **openai.UNSUPPORTED,
        "bad_words": (),
        "allowed_token_ids": None,
        "structured_outputs": None,
        "guided_json": None,
        "guided_regex": None,
        "guided_choice": None,
        "guided_grammar": None,
        "ignore_eos": False,
        "use_beam_search": False,
        "thinking_token_budget": None,
        "repetition_detection": None,
        "extra_args": None,
        "vllm_xargs": None,
    },
    other=openai.OTHER
    + (
        " stop_token_ids prompt_logprobs detokenize skip_special_tokens "
        "spaces_between_special_tokens include_stop_str_in_output output_kind "
        "truncate_prompt_tokens stream_interval flat_logprobs logprob_token_ids skip_clone "
        "skip_reading_prefix_cache add_generation_prompt continue_final_message chat_template "
        "chat_template_kwargs priority length_penalty"
    ),
)
