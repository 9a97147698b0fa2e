"""Favour the tokens whose probability is near a moving target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Context, Sampler, hookimpl, mask_logits, param, softmax
from corelm.filters import KernelSampler, array_namespace, compiled, in_library_of

PEAK, SHARPNESS, WIDTH = 5.0, 10.0, 0.3
"""The shape of the new logits: height at the target, steepness, scale of the distances."""


class AdaptiveP(KernelSampler):
    """Favour tokens whose probability is near a target, which moves against the drawn tokens.

    A running mean m of the drawn tokens' probabilities starts at the target; a drawn token of
    probability p under the model changes it to decay m + (1 - decay) p. The sampler aims at
    a = 2 target - m, limited to 0 and 1: lower after likely tokens and higher after unlikely ones,
    so that the mean returns to the target. A token of probability p, as it arrives here, gets the
    logit 5 - 10 d^2 / (1 + d) with d = |p - a| / 0.3: quadratic near the aim, linear far from it.
    Put it last in a chain, after a filter such as min_p, because unlikely tokens are near a low
    target too.

    Source: MrJackSpade and ddh0 2025, llama.cpp pull request 17927, the sampler adaptive-p. There
    the drawn token's probability is taken after the filters before adaptive-p; here it is the
    model's own, which is in the context.

    Related: mirostat, typical.

    Example:
        >>> import corelm
        >>> p = corelm.sampling_distribution(AdaptiveP(target=0.3), np.log([0.6, 0.3, 0.1]))
        >>> p.round(4).tolist()
        [0.0063, 0.9292, 0.0646]
    """

    kind = "other"
    neutral = {"target": -1.0}
    example = {"target": 0.3}
    reads = frozenset({"model_surprisal"})

    target: float = param(-1.0, "target probability; below 0 is off", ge=-1, le=1)
    decay: float = param(0.9, "share of the mean that stays after each token", ge=0, le=0.99)

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        if self.target < 0:
            return []
        return [(peak_at, self._aim(context.model_surprisal), PEAK, SHARPNESS, WIDTH)]

    def _aim(self, model_surprisal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the moved target: (batch,)."""
        drawn = ~np.isnan(model_surprisal)  # tokens of the prompt have no surprisal
        p = np.exp(-np.where(drawn, model_surprisal, np.inf))
        total = drawn.sum(axis=-1)
        # The running mean of the original, unrolled: each later token multiplies the weight by
        # `decay`.
        later = total[:, None] - drawn.cumsum(axis=-1)  # the tokens after each token
        recent = (1 - self.decay) * (self.decay**later * p).sum(axis=-1)
        mean = self.decay**total * self.target + recent
        return np.asarray(np.clip(2 * self.target - mean, 0, 1))


@compiled("peak_at")
def peak_at(logits: Array, target: Array, peak: float, sharpness: float, width: float) -> Array:
    """Return logits that peak where a token's probability is nearest to a target.

    A token that was removed has a distance too; it stays impossible.

    Args:
        logits: (batch, vocabulary).
        target: (batch,) probabilities.
        peak: the logit at the target.
        sharpness: how steeply logits fall.
        width: the scale of the distances, above 0.
    """
    xp = array_namespace(logits)
    distance = (
        xp.abs(softmax(logits) - xp.astype(in_library_of(logits, target), logits.dtype)[:, None])
        / width
    )
    near = peak - sharpness * distance**2 / (1 + distance)
    return mask_logits(near, logits > -np.inf)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"adaptive_p": AdaptiveP}
