"""Sharpen or flatten the distribution."""

from __future__ import annotations

from corelm import Context, Sampler, apply_temperature, hookimpl, param
from corelm.filters import KernelSampler


class Temperature(KernelSampler):
    """Sharpen (t < 1) or flatten (t > 1) the distribution: softmax(logits / t).

    t = 0 is greedy, t = 1 changes nothing, t = inf is uniform. The entropy never falls as t
    rises.

    Source: Ackley, Hinton, Sejnowski 1985, A learning algorithm for Boltzmann machines.

    Related: dynamic_temperature, quadratic, greedy, stochastic, uniform.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(Temperature(t=0.5), [0.0, 1.0]).round(4).tolist()
        [0.1192, 0.8808]
    """

    kind = "temperature"
    neutral = {"t": 1.0}
    example = {"t": 0.7}
    reads = frozenset()
    is_argmax_invariant = True

    t: float = param(1.0, "softmax temperature; 0 is greedy", ge=0, aliases=("temperature",))

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(apply_temperature, self.t)]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"temperature": Temperature}
