"""The tokens above a fixed probability."""

from __future__ import annotations

from corelm import Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, surprisal_of_probability, within_min_entropy


class Epsilon(KernelSampler):
    """Keep the tokens of probability at least epsilon, and the most likely token in any case.

    epsilon = 0 switches it off.

    Source: Hewitt, Manning, Liang 2022, Truncation sampling as language model desmoothing,
    arXiv 2210.15191.

    Related: eta, min_p.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.6, 0.3, 0.1])
        >>> corelm.sampling_distribution(Epsilon(epsilon=0.2), logits).round(4).tolist()
        [0.6667, 0.3333, 0.0]
    """

    kind = "filter"
    neutral = {"epsilon": 0.0}
    example = {"epsilon": 0.01}
    reads = frozenset()
    is_argmax_invariant = True

    epsilon: float = param(0.0, "the lowest probability that stays; 0 is off", ge=0, lt=1)

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        # p >= epsilon, as a distance from the likeliest token, whose surprisal is the min-entropy.
        return [(within_min_entropy, surprisal_of_probability(self.epsilon), -1.0)]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"epsilon": Epsilon}
