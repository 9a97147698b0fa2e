"""The tokens about as surprising as expected."""

from __future__ import annotations

import numpy as np

from corelm import Array, Context, Sampler, hookimpl, mask_logits, param
from corelm.filters import (
    KernelSampler,
    array_namespace,
    at_least,
    compiled,
    min_and_shannon_entropy,
    subtract_max,
)


class Typical(KernelSampler):
    """Keep the fewest tokens of most typical surprisal whose probabilities sum to at least p.

    The nearer a token's surprisal -ln p_i is to the entropy, the more typical the token; ties go to
    the lowest id. The most likely token may be removed. p = 1 switches it off.

    Source: Meister, Pimentel, Wiher, Cotterell 2022, Locally typical sampling,
    arXiv 2202.00666.

    Related: top_p, eta.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.5, 0.25, 0.125, 0.125])  # surprisals 1, 2, 3, 3 bits; H = 1.75
        >>> corelm.sampling_distribution(Typical(p=0.2), logits).tolist()
        [0.0, 1.0, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"p": 1.0}
    example = {"p": 0.9}
    reads = frozenset()

    p: float = param(
        1.0, "the least probability that stays; 1 is off", gt=0, le=1, aliases=("typical_p",)
    )

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(typical, self.p)]


@compiled("typical")
@np.errstate(over="ignore")
def typical(logits: Array, p: float) -> Array:
    """Keep the fewest tokens of most typical surprisal whose probabilities sum to at least p.

    Args:
        logits: (batch, vocabulary).
        p: above 0 and at most 1.
    """
    xp = array_namespace(logits)
    least, usual = min_and_shannon_entropy(logits)
    below = subtract_max(xp.astype(logits, least.dtype))
    far = xp.abs((least - usual)[..., None] - below)  # the surprisal less the entropy
    weights = xp.astype(xp.exp(subtract_max(logits)), least.dtype)
    order = xp.argsort(far, axis=-1, stable=True)
    mass = xp.cumulative_sum(xp.take_along_axis(weights, order, axis=-1), axis=-1)
    target = p * mass[..., -1:]
    # The cut is a distance, not a position: equal probabilities have equal distances and tie
    # exactly, although the sums before them are rounded.
    reached = xp.where(at_least(mass, target), xp.take_along_axis(far, order, axis=-1), np.inf)
    cut = xp.min(reached, axis=-1, keepdims=True)
    nearer = ~at_least(1 + far, 1 + cut)  # the 1 makes the tolerance absolute near 0
    tied = at_least(1 + cut, 1 + far) & ~nearer
    # Of the tokens at the cut, keep the first ones until their mass reaches the target.
    tied_weights = xp.where(tied, weights, 0.0)
    before = xp.cumulative_sum(tied_weights, axis=-1) - tied_weights
    before = before + xp.sum(xp.where(nearer, weights, 0.0), axis=-1, keepdims=True)
    return mask_logits(logits, nearer | (tied & ~at_least(before, target)))


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"typical": Typical}
