"""The tokens above a share of the largest probability squared."""

from __future__ import annotations

from corelm import Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, surprisal_of_probability, within_min_entropy


class TopA(KernelSampler):
    """Keep the tokens of probability at least a times the largest probability squared.

    The surer the model, the higher the threshold: with a = 0.2 it is 0.162 where the largest
    probability is 0.9, and 0.002 where it is 0.1. The most likely token always stays. a = 0
    switches it off.

    Source: BlinkDL 2022, The top-a sampling method, README of RWKV-LM.

    Related: min_p, eta, tail_free.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.5, 0.25, 0.15, 0.1])
        >>> corelm.sampling_distribution(TopA(a=0.5), logits).round(4).tolist()
        [0.5556, 0.2778, 0.1667, 0.0]
    """

    kind = "filter"
    neutral = {"a": 0.0}
    example = {"a": 0.2}
    reads = frozenset()
    is_argmax_invariant = True

    a: float = param(0.0, "factor of the squared probability; 0 is off", ge=0, aliases=("top_a",))

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        # p >= a max^2 is -ln p <= -ln a - 2 ln max, and the distance from the largest logit is
        # -ln p less the largest token's own surprisal.
        return [(within_min_entropy, surprisal_of_probability(self.a), 1.0)]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"top_a": TopA}
