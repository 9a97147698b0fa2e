"""The model's own distribution."""

from __future__ import annotations

from corelm import Context, Sampler, hookimpl
from corelm.filters import KernelSampler


class Stochastic(KernelSampler):
    """Draw from the model's own distribution, unchanged.

    Related: temperature.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(Stochastic(), [0.0, 0.0]).tolist()
        [0.5, 0.5]
    """

    kind = "temperature"
    reads = frozenset()
    is_argmax_invariant = True

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return []


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"stochastic": Stochastic}
