"""The tokens above a probability that falls with the entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from corelm import (
    Array,
    Context,
    Sampler,
    hookimpl,
    min_and_shannon_entropy,
    param,
    within_nats,
)


class Eta(Sampler):
    """Keep the tokens of probability at least eta, which falls with the entropy H.

    eta = min(epsilon, sqrt(epsilon) exp(-H)). The likeliest token stays in any case;
    epsilon = 0 switches it off.

    Source: Hewitt, Manning, Liang 2022, Truncation sampling as language model desmoothing,
    arXiv 2210.15191.

    Related: epsilon, top_h, typical.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.5, 0.25, 0.25])
        >>> corelm.sampling_distribution(Eta(epsilon=0.3), logits).tolist()
        [0.5, 0.25, 0.25]
        >>> corelm.sampling_distribution(Eta(epsilon=0.6), logits).tolist()
        [1.0, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"epsilon": 0.0}
    reads = frozenset()
    is_argmax_invariant = True

    epsilon: float = param(0.0, "the largest that eta can be; 0 is off", ge=0, lt=1)

    def __call__(self, logits: Array, context: Context) -> Array:
        return within_nats(logits, self._nats, costly=True)

    def _nats(self, rows: Array) -> Array:
        surprisal = -math.log(self.epsilon) if self.epsilon else math.inf
        peak, nats = min_and_shannon_entropy(rows)
        return np.asarray(np.maximum(surprisal, surprisal / 2 + nats) - peak)


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"eta": Eta}
