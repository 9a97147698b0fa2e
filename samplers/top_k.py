"""The k most likely tokens."""

from __future__ import annotations

from collections.abc import Mapping

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import top_k


class TopK(Sampler):
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

    def __call__(self, logits: Array, context: Context) -> Array:
        k = self.k or logits.shape[-1]
        return top_k(logits, k) if k < logits.shape[-1] else logits


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"top_k": TopK}
