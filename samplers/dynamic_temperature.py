"""A temperature that follows the entropy."""

from __future__ import annotations

import math

from corelm import Array, Context, Sampler, apply_temperature, hookimpl, param
from corelm.filters import (
    KernelSampler,
    array_namespace,
    compiled,
    min_and_shannon_entropy,
)


class DynamicTemperature(KernelSampler):
    """Use a low temperature where the model is sure and a high one where it isn't.

    The temperature is t_min + (t_max - t_min) (H / ln n)^exponent, with H the entropy and n the
    number of tokens in play. Where only one token is in play, nothing changes.

    Source: Zhu et al. 2023, Hot or cold? Adaptive temperature sampling for code generation with
    large language models, arXiv 2309.02772.

    Related: temperature, edt, quadratic.

    Example:
        >>> import corelm
        >>> sampler = DynamicTemperature(t_min=0.5, t_max=1.5)
        >>> corelm.sampling_distribution(sampler, [0.0, 0.0]).tolist()
        [0.5, 0.5]
        >>> corelm.sampling_distribution(sampler, [2.0, 0.0]).round(4).tolist()
        [0.8752, 0.1248]
    """

    kind = "temperature"
    neutral = {"t_min": 1.0, "t_max": 1.0}
    example = {"t_min": 0.5, "t_max": 1.5}
    reads = frozenset()
    is_argmax_invariant = True

    t_min: float = param(1.0, "temperature where one token is certain", ge=0, lt=math.inf)
    t_max: float = param(1.0, "temperature where all are equally likely", ge=0, lt=math.inf)
    exponent: float = param(1.0, "power of the relative entropy H / ln n", ge=0, lt=math.inf)

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(dynamic_temperature, self.t_min, self.t_max, self.exponent)]


@compiled("dynamic_temperature")
def dynamic_temperature(logits: Array, t_min: float, t_max: float, exponent: float) -> Array:
    """Divide the logits by the temperature t_min + (t_max - t_min) (H / ln n)^exponent.

    Args:
        logits: (batch, vocabulary).
        t_min: the temperature where the entropy H is 0.
        t_max: the temperature where it is ln n, with n the number of tokens in play.
        exponent: at least 0.
    """
    xp, (_, entropy) = array_namespace(logits), min_and_shannon_entropy(logits)
    in_play = xp.astype(xp.count_nonzero(logits > -math.inf, axis=-1), entropy.dtype)
    # A single token has no entropy: 2 avoids 0 / 0, and the last line leaves its row alone.
    most = xp.log(xp.where(in_play > 1, in_play, 2.0))
    # Rounding may put the entropy of a uniform row above its maximum.
    share = xp.where(entropy < most, entropy / most, 1.0)
    t = t_min + (t_max - t_min) * share**exponent
    return apply_temperature(logits, xp.where(in_play > 1, t, 1.0))


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"dynamic_temperature": DynamicTemperature}
