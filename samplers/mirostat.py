"""Hold the surprisal of a text at a chosen level."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from corelm import Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, within_min_entropy

STEEPEST = 1e300
"""A larger learning rate moves mu no further: beyond all surprisals, either way."""


class Mirostat(KernelSampler):
    """Keep the tokens whose surprisal is at most mu, and move mu so that the text averages tau.

    The surprisal of a token is -log2 of its probability, in bits; the most likely token always
    stays. mu starts at 2 tau. Each drawn token moves it by -eta (s - tau), where s is the surprisal
    of that token under the distribution that it was drawn from, truncated and renormalised. So
    mu = 2 tau - eta sum(s - tau) over the drawn tokens: a sum over the context instead of a state.
    Put it last in a chain: later stages change the surprisal that it steers by.

    Source: Basu et al. 2020, Mirostat: a neural text decoding algorithm that directly controls
    perplexity, arXiv 2007.14966; this is version 2, which estimates no Zipf exponent.

    Related: adaptive_p, typical.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(Mirostat(tau=0.5), np.log([0.5, 0.25, 0.25])).tolist()
        [1.0, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"tau": math.inf}
    reads = frozenset({"surprisal"})
    is_argmax_invariant = True

    tau: float = param(5.0, "target surprisal in bits; inf is off", ge=0)
    eta: float = param(0.1, "learning rate of mu", ge=0, lt=math.inf)

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        nats = self._mu(context.surprisal) * math.log(2)  # the paper counts in bits
        return [(within_min_entropy, nats, -1.0)]

    @np.errstate(over="ignore")  # an infinite mu keeps all tokens
    def _mu(self, surprisal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the largest surprisal that a token may have, in bits: (batch,)."""
        # mu begins at 2 tau and moves by eta (tau - surprisal) at each draw. Written as a sum over
        # the past, it needs no state.
        drawn = ~np.isnan(surprisal)
        bits = np.where(drawn, surprisal, 0).sum(axis=-1) / math.log(2)
        eta = min(self.eta, STEEPEST)  # two infinite terms would have no difference
        mu: NDArray[np.float64] = self.tau * (2 + eta * drawn.sum(axis=-1)) - eta * bits
        return mu


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"mirostat": Mirostat}
