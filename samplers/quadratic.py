"""A smooth curve instead of a cut."""

from __future__ import annotations

import math

import numpy as np

from corelm import Array, Context, Sampler, hookimpl, mask_logits, param
from corelm.filters import (
    KernelSampler,
    array_namespace,
    compiled,
    subtract_max,
    widen,
)

USUAL = 1e-30, 1e30
"""Factors between these multiply in the logits' own type."""


class Quadratic(KernelSampler):
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

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        # A factor of 0 would make all tokens equally likely.
        return [(quadratic, self.factor, self.curve)] if self.factor else []


@compiled("quadratic")
@np.errstate(over="ignore", under="ignore")
def quadratic(logits: Array, factor: float, curve: float) -> Array:
    """Bend the logits by a parabola, or towards a cubic.

    Args:
        logits: (batch, vocabulary).
        factor: at least 0.
        curve: 1 is a parabola, 3 a cubic; at most 10.
    """
    xp, in_play = array_namespace(logits), logits > -math.inf
    usual = USUAL[0] < factor < USUAL[1]
    below = subtract_max(logits if usual else widen(logits))
    below = xp.where(in_play, below, 0.0)  # 0 * inf would be nan
    # factor d^2 is taken out of both terms, so that a parabola costs nothing for the cubic.
    bent = -factor * below * below
    if curve > 1:
        bent = bent * ((3 - curve) / 2 - (curve - 1) / 2 * below)
    return mask_logits(xp.astype(subtract_max(bent), logits.dtype), in_play)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"quadratic": Quadratic}
