"""The tokens before the curve of sorted probabilities flattens out."""

from __future__ import annotations

from collections.abc import Mapping

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import tail_free


class TailFree(Sampler):
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

    def __call__(self, logits: Array, context: Context) -> Array:
        return tail_free(logits, self.z)


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"tail_free": TailFree}
