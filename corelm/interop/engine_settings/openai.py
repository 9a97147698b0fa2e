"""The settings of OpenAI's requests, which many servers take.

Source: the reference of OpenAI's API, "Create chat completion" and "Create completion". Both
penalties count the tokens that were drawn. The order is vLLM's: OpenAI doesn't publish its own.
"""

from __future__ import annotations

from typing import Any

from corelm.interop.engine_settings import biases
from corelm.interop.engine_settings.engine import Engine, NoCounterpartError, Setting, Values, plain

LARGEST_BIAS = 100


def _write_biases(stage: Any) -> Values:
    numbers = {str(i): stage.bias[i] for i in biases.ids(stage.bias)}
    if any(abs(number) > LARGEST_BIAS for number in numbers.values()):
        raise NoCounterpartError(f"a bias is between -{LARGEST_BIAS} and {LARGEST_BIAS} there")
    return {"logit_bias": numbers}


LOGIT_BIAS = Setting(
    "logit_bias", {"logit_bias": ()}, {}, biases.finite, _write_biases, "logit_bias"
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

ENGINE = Engine("openai", (LOGIT_BIAS, *PENALTIES, TEMPERATURE, TOP_P), UNSUPPORTED, OTHER)
