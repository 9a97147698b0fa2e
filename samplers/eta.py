"""The tokens above a probability that falls with the entropy."""

from __future__ import annotations

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import (
    KernelSampler,
    array_namespace,
    compiled,
    min_and_shannon_entropy,
    surprisal_of_probability,
    within_nats,
)


class Eta(KernelSampler):
    """Keep the tokens of probability at least eta, a threshold that falls with the entropy H.

    eta = min(epsilon, sqrt(epsilon) exp(-H)). The most likely token stays in any case;
    epsilon = 0 switches it off.

    Source: Hewitt, Manning, Liang 2022, Truncation sampling as language model desmoothing,
    arXiv 2210.15191.

    Related: epsilon, top_h, typical.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.5, 0.25, 0.25])
        >>> corelm.sampling_distribution(Eta(epsilon=0.3), logits).tolist()
        [0.5, 0.25, 0.25]
        >>> corelm.sampling_distribution(Eta(epsilon=0.6), logits).tolist()
        [1.0, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"epsilon": 0.0}
    example = {"epsilon": 0.01}
    reads = frozenset()
    is_argmax_invariant = True

    epsilon: float = param(0.0, "the largest value of eta; 0 is off", ge=0, lt=1)

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(eta, surprisal_of_probability(self.epsilon))]


@compiled("eta")
def eta(logits: Array, nats: float) -> Array:
    """Keep the tokens whose surprisal is at most max(nats, nats / 2 + H), which is -ln eta.

    Args:
        logits: (batch, vocabulary).
        nats: the surprisal of epsilon.
    """
    least, entropy = min_and_shannon_entropy(logits)
    bar = array_namespace(logits).maximum(nats / 2 + entropy, nats)
    return within_nats(logits, bar - least)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"eta": Eta}
