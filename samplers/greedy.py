"""Always the most likely token."""

from __future__ import annotations

from corelm import Context, Sampler, apply_temperature, hookimpl
from corelm.filters import KernelSampler


class Greedy(KernelSampler):
    """Put all probability on the most likely token, the lowest id on ties.

    The entropy is 0.

    Related: temperature, top_k.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(Greedy(), [0.0, 2.0, 1.0]).tolist()
        [0.0, 1.0, 0.0]
    """

    kind = "temperature"
    reads = frozenset()
    is_argmax_invariant = True

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(apply_temperature, 0.0)]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"greedy": Greedy}
