"""The tokens about as surprising as expected."""

from __future__ import annotations

from collections.abc import Mapping

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import typical


class Typical(Sampler):
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

    def __call__(self, logits: Array, context: Context) -> Array:
        return typical(logits, self.p)


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"typical": Typical}
