"""A temperature that follows the entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from corelm import (
    Array,
    Context,
    Sampler,
    apply_temperature,
    by_rows,
    hookimpl,
    min_and_shannon_entropy,
    param,
)


class DynamicTemperature(Sampler):
    """Use a low temperature where the model is sure and a high one where it is not.

    The temperature is t_min + (t_max - t_min) (H / ln n)^exponent, with H the entropy and n the
    number of tokens in play. Where one token is in play, nothing changes.

    Source: Zhu et al. 2023, Hot or cold? Adaptive temperature sampling for code generation with
    large language models, arXiv 2309.02772.

    Related: temperature, quadratic.

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
    reads = frozenset()
    is_argmax_invariant = True

    t_min: float = param(1.0, "temperature where one token is certain", ge=0, lt=math.inf)
    t_max: float = param(1.0, "temperature where all are equally likely", ge=0, lt=math.inf)
    exponent: float = param(1.0, "how the entropy bends the way between", ge=0, lt=math.inf)

    def __call__(self, logits: Array, context: Context) -> Array:
        return by_rows(logits, self._adapt)

    def _adapt(self, rows: Array, out: Array) -> None:
        for row, place, t in zip(rows, out, self._temperatures(rows), strict=True):
            place[:] = apply_temperature(row, float(t))

    def _temperatures(self, rows: Array) -> Array:
        in_play = np.count_nonzero(rows > -np.inf, axis=-1)
        share = np.minimum(min_and_shannon_entropy(rows)[1] / np.log(np.maximum(in_play, 2)), 1)
        t = self.t_min + (self.t_max - self.t_min) * share**self.exponent
        return np.where(in_play == 1, 1.0, t)


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"dynamic_temperature": DynamicTemperature}
