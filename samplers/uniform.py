"""Every token equally likely."""

from __future__ import annotations

import math

from corelm import Context, Sampler, apply_temperature, hookimpl
from corelm.filters import KernelSampler


class Uniform(KernelSampler):
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

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(apply_temperature, math.inf)]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"uniform": Uniform}
