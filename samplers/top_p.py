"""The most likely tokens that together reach a probability."""

from __future__ import annotations

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import (
    KernelSampler,
    array_namespace,
    at_least,
    compiled,
    falling_logits,
    first_tokens,
    subtract_max,
    widen,
)


class TopP(KernelSampler):
    """Keep the fewest most likely tokens whose probabilities sum to at least p: the nucleus.

    The token that crosses p stays; ties go to the lowest id. p = 1 switches it off; p = 0 keeps
    one token.

    Source: Holtzman et al. 2019, The curious case of neural text degeneration, arXiv 1904.09751.

    Related: top_k, min_p, typical, top_h.

    Example:
        >>> import corelm, numpy
        >>> corelm.sampling_distribution(TopP(p=0.7), numpy.log([0.6, 0.3, 0.1])).round(4).tolist()
        [0.6667, 0.3333, 0.0]
    """

    kind = "filter"
    neutral = {"p": 1.0}
    example = {"p": 0.9}
    reads = frozenset()
    is_argmax_invariant = True

    p: float = param(
        1.0, "the least probability that stays; 1 is off", ge=0, le=1, aliases=("top_p",)
    )

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(top_p, self.p)]


@compiled("top_p")
def top_p(logits: Array, p: float) -> Array:
    """Keep the fewest likeliest tokens whose probabilities sum to at least p.

    Args:
        logits: (batch, vocabulary).
        p: at least 0 and at most 1; the likeliest token stays in any case.
    """
    xp = array_namespace(logits)
    falling = falling_logits(logits)
    weights = xp.exp(subtract_max(falling))
    mass = xp.cumulative_sum(widen(weights), axis=-1)
    short = xp.astype(~at_least(mass, p * mass[..., -1:]), xp.int32)
    count = 1 + xp.sum(short, axis=-1, keepdims=True)
    return first_tokens(logits, xp.take_along_axis(falling, count - 1, axis=-1), count)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"top_p": TopP}
