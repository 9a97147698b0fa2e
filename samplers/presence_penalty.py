"""Lower the logits of tokens that occur in the context."""

from __future__ import annotations

import math

from corelm import Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, token_change


class PresencePenalty(KernelSampler):
    """Subtract a penalty from the logit of every token that occurs in the context.

    l becomes l - penalty, however often the token occurs; a penalty below 0 is a reward.

    Source: OpenAI, API reference, `presence_penalty` (from -2 to 2 there).

    Related: frequency_penalty, repetition_penalty.

    Example:
        >>> import corelm
        >>> penalised = corelm.sampling_distribution(
        ...     PresencePenalty(penalty=0.5), [0.0, 0.0], tokens=[1, 1]
        ... )
        >>> penalised.round(4).tolist()
        [0.6225, 0.3775]
    """

    kind = "penalty"
    neutral = {"penalty": 0.0}
    example = {"penalty": 0.5}
    reads = frozenset({"tokens"})

    penalty: float = param(
        0.0,
        "subtracted once; 0 is off, below 0 rewards",
        gt=-math.inf,
        lt=math.inf,
    )
    last: int = param(0, "how many of the last tokens count; 0 is all", ge=0)
    skip_prompt: bool = param(False, "count only tokens that were drawn")

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        past = context.past(self.last, self.skip_prompt)
        return [token_change(None, past, subtract=self.penalty)]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"presence_penalty": PresencePenalty}
