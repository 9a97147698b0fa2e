"""The likeliest tokens up to a share of the entropy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from corelm import (
    Array,
    Context,
    Sampler,
    at_least,
    falling_logits,
    filter_each_row,
    first_tokens,
    first_where,
    hookimpl,
    min_and_shannon_entropy,
    param,
)


class TopH(Sampler):
    """Keep the most likeliest tokens whose own entropy is at most h times that of all.

    Their entropy is that of their distribution, renormalised; it grows with every token.
    The likeliest token always stays. h = 1 switches it off.

    Source: Potraghloo, Azizi, Kundu, Pedram 2025, Top-H decoding: adapting the creativity and
    coherence with bounded entropy in text generation, arXiv 2509.02510.

    Related: top_p, typical.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(TopH(h=0.5), [0.0, 0.0, 0.0, 0.0]).tolist()
        [0.5, 0.5, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"h": 1.0}
    reads = frozenset()
    is_argmax_invariant = True

    h: float = param(1.0, "share of the entropy; 1 is off", ge=0, le=1, aliases=("top_h",))

    def __call__(self, logits: Array, context: Context) -> Array:
        return filter_each_row(logits, self._choose)

    @np.errstate(over="ignore")
    def _choose(self, row: Array) -> Array:
        limit = self.h * min_and_shannon_entropy(row)[1]
        for values in falling_logits(row):
            below = values - values[0]
            weights = np.exp(below)
            possible = np.count_nonzero(weights)
            below, weights = below[:possible], weights[:possible]
            weights[0] = 0  # known to be 1
            terms = np.stack([weights, weights * below])
            count = first_where(terms, lambda sums: ~at_least(limit, _entropy(*sums)))
            if count < len(values):
                break
        return first_tokens(row, values[count - 1], count)


def _entropy(rest: Array, moment: Array) -> Array:
    """The entropy of prefixes: from their sums, but for the first token, of w and of w ln w."""
    nats: Array = np.log1p(rest) - moment / (1 + rest)
    return nats


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"top_h": TopH}
