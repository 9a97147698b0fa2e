"""A smooth curve instead of a cut."""

from __future__ import annotations

import math
from collections.abc import Mapping

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import quadratic


class Quadratic(Sampler):
    """Bend the logits by a parabola: the top tokens draw closer together, the tail falls away.

    With d the distance of a logit from the largest, k = (3 - curve) / 2 and
    s = (curve - 1) / 2, the new logit is -k factor d^2 + s factor d^3. factor = 0 switches it
    off.

    Source: kalomaze 2024, Quadratic sampling (smoothing factor and smoothing curve).

    Related: temperature, dynamic_temperature.

    Example:
        >>> import corelm
        >>> logits = [2.0, 1.0, 0.0]  # becomes 0, -0.5, -2
        >>> corelm.sampling_distribution(Quadratic(factor=0.5), logits).round(4).tolist()
        [0.5741, 0.3482, 0.0777]
    """

    kind = "other"
    neutral = {"factor": 0.0}
    example = {"factor": 0.3}
    reads = frozenset()

    factor: float = param(0.0, "how steep; 0 is off", ge=0, lt=math.inf)
    curve: float = param(1.0, "1 is a parabola, 3 a cubic; more raises the runners-up", ge=1, le=10)

    def __call__(self, logits: Array, context: Context) -> Array:
        if self.factor == 0:  # in the formula it would make all tokens equally likely
            return logits
        return quadratic(logits, self.factor, self.curve)


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"quadratic": Quadratic}
