"""The settings of a generation task: `generation_kwargs` of its file and `--gen_kwargs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from corelm import from_settings
from corelm.errors import UsageError
from corelm.runs import Endings, Expression, Strategy

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""The keys of the largest number of tokens; the first one that is set counts."""
LENGTH = 256
"""The default of the largest number of tokens, as in lm-evaluation-harness."""
RECORD = "corelm"
"""The key of the record that this package adds."""


class GenerationSettings(NamedTuple):
    """The settings of a generation request.

    Attributes:
        strategy: the sampler and the decoder.
        endings: what ends a text.
        length: the largest number of tokens.
    """

    strategy: Strategy
    endings: Endings
    length: int


def read_settings(arguments: Mapping[str, Any], strategy: Strategy | None) -> GenerationSettings:
    """Return the settings of a request.

    Args:
        arguments: the `gen_kwargs` of the request.
        strategy: the sampler of the model's arguments, which replaces a greedy task's; None to
            sample as the task says.

    Raises:
        UsageError: settings that corelm doesn't have, or that contradict the model's sampler.
    """
    rest = {key: value for key, value in arguments.items() if value is not None and key != RECORD}
    until = rest.pop("until", ())
    lengths = [rest.pop(name) for name in LENGTHS if name in rest]
    asked = _strategy(rest)
    if strategy is not None and str(asked) != "greedy":
        raise UsageError(
            f"the task samples with {asked} and the model's arguments with {strategy}: leave "
            "out sampler= or the task's settings"
        )
    stop = [until] if isinstance(until, str) else [text for text in until if text]
    return GenerationSettings(
        strategy or asked, Endings.of(stop), int(lengths[0] if lengths else LENGTH)
    )


def _strategy(settings: dict[str, Any]) -> Strategy:
    """Return the sampler of a task: greedy unless it has `do_sample` or a temperature."""
    samples = settings.pop("do_sample", settings.get("temperature", 0) > 0)
    # As vLLM's keys, which have these names and no default that removes tokens.
    read = from_settings(settings, engine="vllm")
    strangers = [*read.unsupported, *read.unknown, *read.other]
    if strangers:
        raise UsageError(
            f"corelm does not sample with {', '.join(strangers)}; give the model's arguments a "
            "sampler= or seed=, or leave it out"
        )
    return Strategy(read.sampler if samples else Expression.built_in("greedy"))
