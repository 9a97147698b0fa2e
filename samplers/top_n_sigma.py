"""The tokens within n standard deviations of the largest logit."""

from __future__ import annotations

import math

import numpy as np

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import KernelSampler, array_namespace, compiled, widen, within_nats

ALL = 1e30
"""More standard deviations than lie between any two logits: at most the root of their number."""


class TopNSigma(KernelSampler):
    """Keep the tokens whose logit is within n standard deviations of the largest.

    The deviation is the population's, over the logits still in play. n = inf switches it off;
    n = 0 keeps the most likely token and its ties.

    Source: Tang et al. 2024, Top-n-sigma: not all logits are you need, arXiv 2411.07641.

    Related: min_p, top_k.

    Example:
        >>> import corelm
        >>> logits = [4.0, 3.0, 2.0, 1.0]  # the deviation is 1.118
        >>> corelm.sampling_distribution(TopNSigma(n=1), logits).round(4).tolist()
        [0.7311, 0.2689, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"n": math.inf}
    reads = frozenset()
    is_argmax_invariant = True

    n: float = param(1.0, "how many standard deviations; inf is off", ge=0, aliases=("n_sigma",))

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(within_std, min(self.n, ALL))]


@compiled("within_std")
@np.errstate(over="ignore")
def within_std(logits: Array, times: float) -> Array:
    """Keep the tokens at most some standard deviations of the logits below the likeliest.

    Args:
        logits: (batch, vocabulary).
        times: at least 0.
    """
    return within_nats(logits, times * logit_std(logits))


@compiled("logit_std")
def logit_std(logits: Array) -> Array:
    """Return the standard deviation of each row's logits that are not minus infinity: (batch,).

    It is the population's: the root of the mean of the squares, without the factor n / (n - 1).

    Args:
        logits: (batch, vocabulary).
    """
    xp = array_namespace(logits)
    in_play = logits > -math.inf
    finite = widen(xp.where(in_play, logits, 0.0))
    count = xp.sum(xp.astype(in_play, finite.dtype), axis=-1, keepdims=True)
    scale = xp.maximum(xp.max(xp.abs(finite), axis=-1, keepdims=True), 1.0)  # no square overflows
    scaled = finite / scale
    mean = xp.sum(scaled, axis=-1, keepdims=True) / count
    squares = xp.where(in_play, (scaled - mean) ** 2, 0.0)
    deviation: Array = (xp.sqrt(xp.sum(squares, axis=-1, keepdims=True) / count) * scale)[..., 0]
    return deviation


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"top_n_sigma": TopNSigma}
