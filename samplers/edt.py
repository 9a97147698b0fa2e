"""EDT: a temperature that falls steeply where the model is sure."""

from __future__ import annotations

import math

import numpy as np

from corelm import Array, Context, Sampler, apply_temperature, hookimpl, param
from corelm.filters import (
    KernelSampler,
    array_namespace,
    compiled,
    min_and_shannon_entropy,
)


class EDT(KernelSampler):
    """Lower the temperature where the entropy is low: t * base ** (theta / H).

    H is the entropy in nats. Where the model is all but certain, the temperature goes to 0; where H
    is far above theta, it is nearly t. theta = 0 is a plain temperature. It is the source's
    equation 7, whose N is the base.

    Source: Zhang, Bao, Huang 2024, EDT: Improving large language models' generation by
    entropy-based dynamic temperature sampling, arXiv 2403.14541.

    Related: dynamic_temperature, temperature.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(EDT(t=1, theta=0.5), [0.0, 0.0]).tolist()
        [0.5, 0.5]
        >>> corelm.sampling_distribution(EDT(t=1, theta=0.5), [2.0, 0.0]).round(4).tolist()
        [0.9379, 0.0621]
    """

    kind = "temperature"
    neutral = {"t": 1.0, "theta": 0.0}
    reads = frozenset()
    is_argmax_invariant = True

    t: float = param(1.0, "temperature where the entropy is high", ge=0, lt=math.inf)
    theta: float = param(0.1, "nats of entropy around which it falls", ge=0, lt=math.inf)
    base: float = param(0.8, "share of t that is left at H = theta", gt=0, le=1)

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        if self.theta == 0 or self.base == 1:
            return [(apply_temperature, self.t)]
        return [(edt, self.t, self.theta, self.base)]


@compiled("edt")
@np.errstate(over="ignore")  # a power beyond the largest number is a temperature of 0
def edt(logits: Array, t: float, theta: float, base: float) -> Array:
    """Divide the logits by the temperature t * base ** (theta / H).

    Args:
        logits: (batch, vocabulary).
        t: the temperature where the entropy H is high.
        theta: nats, above 0.
        base: above 0 and below 1.
    """
    xp, (_, entropy) = array_namespace(logits), min_and_shannon_entropy(logits)
    # A certain row is greedy, and 1 avoids a division by 0 there.
    power = theta / xp.where(entropy > 0, entropy, 1.0)
    each = t * xp.exp(power * math.log(base))
    return apply_temperature(logits, xp.where(entropy > 0, each, 0.0))


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"edt": EDT}
