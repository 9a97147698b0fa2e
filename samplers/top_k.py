"""The k most likely tokens."""

from __future__ import annotations

from corelm import Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, top_k


class TopK(KernelSampler):
    """Keep the k most likely tokens, the lowest id first on ties.

    k = 0 switches it off; a k above the vocabulary keeps every token.

    Source: Fan, Lewis, Dauphin 2018, Hierarchical neural story generation, arXiv 1805.04833.

    Related: top_p, min_p.

    Example:
        >>> import corelm, numpy
        >>> corelm.sampling_distribution(TopK(k=2), numpy.log([0.6, 0.2, 0.2])).round(4).tolist()
        [0.75, 0.25, 0.0]
    """

    kind = "filter"
    neutral = {"k": 0}
    example = {"k": 40}
    reads = frozenset()
    is_argmax_invariant = True

    k: int = param(0, "how many tokens stay; 0 is off", ge=0, aliases=("top_k",))

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(top_k, self.k)] if 0 < self.k < size else []


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"top_k": TopK}
