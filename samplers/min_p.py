"""The tokens not much less likely than the most likely one."""

from __future__ import annotations

from corelm import Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, surprisal_of_probability, within_nats


class MinP(KernelSampler):
    """Keep the tokens at least p times as likely as the most likely one: p_i >= p max p.

    p = 0 switches it off; p = 1 keeps the most likely token and its ties.

    Source: Nguyen et al. 2024, Turning up the heat: min-p sampling, arXiv 2407.01082.

    Related: top_n_sigma, epsilon, top_p.

    Example:
        >>> import corelm, numpy
        >>> corelm.sampling_distribution(MinP(p=0.5), numpy.log([0.6, 0.3, 0.1])).round(4).tolist()
        [0.6667, 0.3333, 0.0]
    """

    kind = "filter"
    neutral = {"p": 0.0}
    example = {"p": 0.1}
    reads = frozenset()
    is_argmax_invariant = True

    p: float = param(
        0.0, "share of the largest probability; 0 is off", ge=0, le=1, aliases=("min_p",)
    )

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(within_nats, surprisal_of_probability(self.p))]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"min_p": MinP}
