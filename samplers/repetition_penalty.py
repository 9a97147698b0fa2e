"""Divide the logits of tokens that occur in the context."""

from __future__ import annotations

import math

from corelm import Context, Sampler, hookimpl, log_softmax, param
from corelm.filters import KernelSampler, token_change


class RepetitionPenalty(KernelSampler):
    """Make every token that occurs in the context less likely, once.

    Its logit l becomes l / penalty if it is above 0, and l * penalty otherwise, so that a penalty
    above 1 always lowers it; one below 1 is a reward. The definition depends on the sign of the
    raw logits: adding a constant to a row changes the result.

    If it is normalised, it acts on log-probabilities instead, which are never above 0: ln p becomes
    penalty ln p. Then a constant changes nothing.

    Source: Keskar et al. 2019, CTRL: a conditional transformer language model for controllable
    generation, arXiv 1909.05858; multiplying the negative logits is what every engine does.

    Related: presence_penalty, frequency_penalty, dry.

    Example:
        >>> import corelm
        >>> import numpy as np
        >>> penalised = RepetitionPenalty(penalty=2.0)(
        ...     np.array([[4.0, 4.0, -1.0]]), corelm.Context.of([[0, 2, 0]])
        ... )
        >>> penalised.tolist()
        [[2.0, 4.0, -2.0]]
    """

    kind = "penalty"
    neutral = {"penalty": 1.0}
    example = {"penalty": 1.2}
    reads = frozenset({"tokens"})
    is_shift_invariant = False

    penalty: float = param(
        1.0, "divides positive logits; 1 is off, below 1 rewards", gt=0, lt=math.inf
    )
    last: int = param(0, "how many of the last tokens count; 0 is all", ge=0)
    skip_prompt: bool = param(False, "count only tokens that were drawn")
    normalised: bool = param(False, "penalise log-probabilities instead of logits")

    def __post_init__(self) -> None:
        super().__post_init__()
        # Log-probabilities have no arbitrary constant that the penalty could depend on.
        object.__setattr__(self, "is_shift_invariant", self.normalised)

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        past = context.past(self.last, self.skip_prompt)
        # A repeated pair is changed once, so the ids need not be made unique.
        penalty = token_change(None, past, divide=self.penalty)
        return [(log_softmax,), penalty] if self.normalised else [penalty]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"repetition_penalty": RepetitionPenalty}
