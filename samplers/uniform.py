"""Every token equally likely."""

from __future__ import annotations

import math
from collections.abc import Mapping

from corelm import Array, Context, Sampler, apply_temperature, hookimpl


class Uniform(Sampler):
    """Make every token that is still in play equally likely.

    The entropy is ln of their number.

    Related: temperature, stochastic.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(Uniform(), [0.0, 2.0, float("-inf")]).tolist()
        [0.5, 0.5, 0.0]
    """

    kind = "temperature"
    reads = frozenset()

    def __call__(self, logits: Array, context: Context) -> Array:
        return apply_temperature(logits, math.inf)


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"uniform": Uniform}
