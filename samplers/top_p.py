"""The likeliest tokens that together reach a probability."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from corelm import (
    Array,
    Context,
    Sampler,
    falling_logits,
    filter_each_row,
    first_tokens,
    first_where,
    hookimpl,
    min_entropy,
    param,
    reaches,
)


class TopP(Sampler):
    """Keep the fewest likeliest tokens whose probabilities sum to at least p: the nucleus.

    The token that crosses p stays; ties go to the lowest id. p = 1 switches it off; p = 0 keeps
    one token.

    Source: Holtzman et al. 2019, The curious case of neural text degeneration, arXiv 1904.09751.

    Related: top_k, min_p, typical, top_h.

    Example:
        >>> import corelm, numpy
        >>> corelm.sampling_distribution(TopP(p=0.7), numpy.log([0.6, 0.3, 0.1])).round(4).tolist()
        [0.6667, 0.3333, 0.0]
    """

    p: float = param(
        1.0, "probability that stays at least; 1 is off", least=0, most=1, aliases=("top_p",)
    )

    def __call__(self, logits: Array, context: Context) -> Array:
        if self.p == 1:
            return logits
        return filter_each_row(logits, self._nucleus)

    @np.errstate(over="ignore")
    def _nucleus(self, row: Array) -> Array:
        target = self.p * np.exp(min_entropy(row))  # in units of the largest probability
        for values in falling_logits(row):
            weights = np.exp(values - values[0])
            last = first_where(weights, lambda mass: reaches(mass, target))
            if last < len(values):
                return first_tokens(row, values[last], last + 1)
        return first_tokens(row, values[-1], len(values))


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"top_p": TopP}
