"""The tokens about as surprising as one expects."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from corelm import (
    Array,
    Context,
    Sampler,
    entropies,
    falling_logits,
    filter_each_row,
    first_where,
    hookimpl,
    param,
    reaches,
)


class Typical(Sampler):
    """Keep the fewest tokens of most typical surprisal whose probabilities sum to at least p.

    A token is the more typical, the nearer its surprisal -ln p_i is to the entropy; ties go to
    the lowest id. The likeliest token may go. p = 1 switches it off.

    Source: Meister, Pimentel, Wiher, Cotterell 2022, Locally typical sampling,
    arXiv 2202.00666.

    Related: top_p, eta.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.5, 0.25, 0.125, 0.125])  # surprisals 1, 2, 3, 3 bits; H = 1.75
        >>> corelm.sampling_distribution(Typical(p=0.2), logits).tolist()
        [0.0, 1.0, 0.0, 0.0]
    """

    p: float = param(
        1.0, "probability that stays at least; 1 is off", above=0, most=1, aliases=("typical_p",)
    )

    def __call__(self, logits: Array, context: Context) -> Array:
        if self.p == 1:
            return logits
        return filter_each_row(logits, self._choose)

    @np.errstate(over="ignore")
    def _choose(self, row: Array) -> Array:
        peak, nats = entropies(row)
        largest, target = row.max(), self.p * np.exp(peak)

        def excess(values: ArrayLike) -> Array:
            """The surprisal of a logit, less the entropy."""
            return np.asarray(peak - nats - np.subtract(values, largest, dtype=np.float64))

        for values in falling_logits(row):
            far = np.abs(excess(values))
            order = far.argsort(kind="stable")
            weights = np.exp(values - largest)[order]
            last = first_where(weights, lambda mass: reaches(mass, target))
            cut = far[order[min(last, len(order) - 1)]]
            if last < len(order) and not reaches(1 + cut, 1 + excess(values[-1])):
                break  # all that is left is farther
        near = values[reaches(1 + cut, 1 + far)]  # 1, so that the slack is absolute near 0
        tokens = np.flatnonzero((row >= near[-1]) & (row <= near[0]))
        kept: Array = ~reaches(1 + np.abs(excess(row[tokens])), 1 + cut)
        tied = np.flatnonzero(~kept)
        weights = np.exp(row[tokens] - largest)
        nearer = weights[kept].sum(dtype=np.float64)
        last = first_where(weights[tied], lambda mass: reaches(nearer + mass, target))
        kept[tied[: last + 1]] = True
        chosen: Array = tokens[kept]
        return chosen


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"typical": Typical}
