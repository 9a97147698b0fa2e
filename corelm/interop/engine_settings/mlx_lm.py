"""The settings of mlx-lm: the body of a request to its server.

Source: mlx-lm 0.32, `make_logits_processors` and `make_sampler` in sample_utils.py, and
server.py. A repetition penalty of 0 is off; a context size of 0 is the whole context.
"""

from __future__ import annotations

from typing import Any

from corelm.interop.engine_settings import openai
from corelm.interop.engine_settings.engine import Engine, Setting, Values, plain

LAST = 20


def _penalty(name: str) -> Setting:
    key, size = name, name.replace("penalty", "context_size")

    def read(value: float, last: int) -> Values | None:
        return {"penalty": value, "last": last} if value != 0 else None

    return Setting(
        name,
        {key: 0.0, size: LAST},
        {key: 0.0},
        read,
        lambda stage: {key: stage.penalty, size: stage.last},
    )


def _read_top_p(p: float) -> Values | None:
    return {"p": p} if p != 0 else None  # 0 is off, as 1 is


def _write_xtc(stage: Any) -> Values:
    return {"xtc_probability": stage.probability, "xtc_threshold": stage.threshold}


ENGINE = Engine(
    "mlx-lm",
    (
        openai.LOGIT_BIAS,
        # Each penalty has a window of its own, unlike llama.cpp's.
        _penalty("repetition_penalty"),
        _penalty("presence_penalty"),
        _penalty("frequency_penalty"),
        Setting("top_p", {"top_p": 1.0}, {"top_p": 1.0}, _read_top_p, lambda s: {"top_p": s.p}),
        plain("min_p", "p", "min_p", 0.0),
        Setting(
            "xtc",
            {"xtc_probability": 0.0, "xtc_threshold": 0.1},
            {"xtc_probability": 0.0},
            lambda probability, threshold: {"probability": probability, "threshold": threshold},
            _write_xtc,
        ),
        plain("top_k", "k", "top_k", 0),
        plain("temperature", "t", "temperature", 1.0, default=0.0),
    ),
    unsupported={},
    other="seed stop max_tokens max_completion_tokens stream stream_options logprobs top_logprobs "
    "draft_model num_draft_tokens adapters chat_template_kwargs role_mapping",
)
