"""Lower the logits of tokens by the number of times that they occur in the context."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, change_logits, compiled, token_counts


class FrequencyPenalty(KernelSampler):
    """Subtract a penalty from the logit of a token each time that it occurs in the context.

    l becomes l - penalty * count; a penalty below 0 is a reward.

    Source: OpenAI, API reference, `frequency_penalty` (from -2 to 2 there).

    Related: presence_penalty, repetition_penalty.

    Example:
        >>> import corelm
        >>> penalised = corelm.sampling_distribution(
        ...     FrequencyPenalty(penalty=0.5), [0.0, 0.0], tokens=[1, 1]
        ... )
        >>> penalised.round(4).tolist()
        [0.7311, 0.2689]
    """

    kind = "penalty"
    neutral = {"penalty": 0.0}
    example = {"penalty": 0.5}
    reads = frozenset({"tokens"})

    penalty: float = param(
        0.0,
        "subtracted for each occurrence; 0 is off, below 0 rewards",
        gt=-math.inf,
        lt=math.inf,
    )
    last: int = param(0, "how many of the last tokens count; 0 is all", ge=0)
    skip_prompt: bool = param(False, "count only tokens that were drawn")

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        past = context.past(self.last, self.skip_prompt)
        return [(subtract_counts, past.ravel(), past.shape[1], self.penalty)]


@compiled("subtract_counts", by_row=False)
def subtract_counts(logits: Array, ids: NDArray[np.int64], owners: int, each: float) -> Array:
    """Subtract a number from the logit of a token each time that it occurs.

    Args:
        logits: (batch, vocabulary).
        ids: (batch * owners,).
        owners: how many ids each row has.
        each: what is subtracted each time.
    """
    tokens = ids.reshape(logits.shape[0], owners)
    rows, ids, counts = token_counts(tokens, logits.shape[-1])
    with np.errstate(over="ignore"):  # an infinite penalty becomes the largest number
        penalty = each * counts
    return change_logits(logits, rows, ids, subtract=penalty)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"frequency_penalty": FrequencyPenalty}
