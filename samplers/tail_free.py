"""The tokens before the curve of sorted probabilities flattens out."""

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

STRAIGHT = 1e-9
"""Probabilities that bend by less than this share of the largest one are on a line."""


class TailFree(KernelSampler):
    """Keep the tokens before the tail, found by the curvature of the sorted probabilities.

    The second differences of the probabilities in falling order are made absolute and sum to 1.
    The first token stays, and one more for each leading difference while their sum is at most z:
    a difference spans three tokens, and the cut is in their middle. Probabilities that are equal,
    or on a line, have no tail. An impossible token has probability 0. z = 1 switches it off.

    Source: Bricken 2019, Tail free sampling, https://www.trentonbricken.com/Tail-Free-Sampling/.

    Related: top_p, top_a, typical.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.5, 0.2, 0.16, 0.14])  # second differences 0.26 and 0.02
        >>> corelm.sampling_distribution(TailFree(z=0.95), logits).round(4).tolist()
        [0.7143, 0.2857, 0.0, 0.0]
        >>> corelm.sampling_distribution(TailFree(z=0.9), logits).round(4).tolist()
        [1.0, 0.0, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"z": 1.0}
    example = {"z": 0.95}
    reads = frozenset()
    is_argmax_invariant = True

    z: float = param(1.0, "share of the curvature; 1 is off", ge=0, le=1, aliases=("tfs",))

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(tail_free, self.z)]


@compiled("tail_free")
def tail_free(logits: Array, z: float) -> Array:
    """Keep the tokens before the tail; where nothing bends, all tokens stay.

    Args:
        logits: (batch, vocabulary).
        z: at least 0 and at most 1.
    """
    size = logits.shape[-1]
    if z == 1 or size < 3:  # two tokens have no second difference
        return logits
    xp = array_namespace(logits)
    falling = falling_logits(logits)
    weights = xp.exp(subtract_max(widen(falling)))
    slopes = weights[..., 1:] - weights[..., :-1]
    share = xp.cumulative_sum(xp.abs(slopes[..., 1:] - slopes[..., :-1]), axis=-1)
    total = share[..., -1:]
    before = xp.astype(at_least(z * total, share), xp.int32)
    # Without a bend, rounding alone would decide where the tail begins.
    count = xp.where(total > STRAIGHT, 1 + xp.sum(before, axis=-1, keepdims=True), size)
    return first_tokens(logits, xp.take_along_axis(falling, count - 1, axis=-1), count)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"tail_free": TailFree}
