"""Min-k sampling: cut where the logits fall most steeply."""

import numpy as np

from corelm import Sampler, hookimpl, param
from corelm.filters import (
    array_namespace,
    falling_logits,
    first_tokens,
    widen,
)


class MinK(Sampler):
    """Keep the tokens before the steepest fall of the logits, the early ones counting more.

    In falling order l_1 >= l_2 >= ... of the tokens in play the weight of the fall after token i is
    (l_i - l_{i+1}) / (i R), where R is the range of all; the cut comes after the largest weight,
    the first one on ties. Where the logits are close together there is no such fall, so at least
    tau / R tokens stay. The likeliest token always stays; equal logits all stay where nothing
    falls. The fall does not depend on a temperature that comes before, the range does.
    tau = inf switches it off.

    Source: Ding et al. 2026, Min-k sampling, arXiv 2604.11012; without the 1e-8 added to R there.

    Example:
        >>> import corelm
        >>> corelm.sampling_distribution(MinK(), [8.0, 8.0, 3.0, 2.0]).tolist()
        [0.5, 0.5, 0.0, 0.0]
    """

    kind = "filter"
    neutral = {"tau": np.inf}
    reads = frozenset()
    is_argmax_invariant = True

    tau: float = param(3.0, "at least tau / R tokens stay, R the range of the logits", ge=0)

    @np.errstate(over="ignore")  # a range beyond the largest number is infinite
    def __call__(self, logits, context):
        xp, vocabulary = array_namespace(logits), logits.shape[-1]
        falling = falling_logits(logits)
        lowest = xp.min(xp.where(logits > -np.inf, logits, np.inf), axis=-1, keepdims=True)
        down_to = widen(xp.where(falling > -np.inf, falling, lowest))
        span = down_to[:, :1] - down_to[:, -1:]
        place = xp.cumulative_sum(xp.ones_like(down_to), axis=-1)
        falls = down_to - xp.concat([down_to[:, 1:], down_to[:, -1:]], axis=-1)
        steepest = xp.argmax(falls / place, axis=-1, keepdims=True) + 1
        steepest = xp.astype(steepest, down_to.dtype)
        # The factor keeps a quotient that is whole in decimals from rounding down.
        least = xp.floor(self.tau / xp.where(span > 0, span, 1.0) * (1 + 1e-12))
        count = xp.where(least > steepest, least, steepest)
        count = xp.where(span * vocabulary <= self.tau, vocabulary, count)
        last = xp.min(xp.where(place <= count, falling, np.inf), axis=-1, keepdims=True)
        return first_tokens(logits, last, xp.astype(count, xp.int32))


@hookimpl
def corelm_samplers():
    return {"min_k": MinK}
