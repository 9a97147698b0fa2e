"""The most likely tokens, up to a share of the entropy."""

from __future__ import annotations

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import (
    KernelSampler,
    array_namespace,
    at_least,
    compiled,
    falling_logits,
    first_tokens,
    min_and_shannon_entropy,
    subtract_max,
)


class TopH(KernelSampler):
    """Keep as many top tokens as possible while their entropy stays at most h times the full one.

    The entropy of the tokens that stay is computed after renormalising them; it grows with every
    token. The most likely token always stays. h = 1 switches it off.

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
    example = {"h": 0.5}
    reads = frozenset()
    is_argmax_invariant = True

    h: float = param(1.0, "share of the entropy; 1 is off", ge=0, le=1, aliases=("top_h",))

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        return [(top_h, self.h)] if self.h < 1 else []


@compiled("top_h")
def top_h(logits: Array, h: float) -> Array:
    """Keep as many top tokens as possible while their entropy stays at most h times the full one.

    Args:
        logits: (batch, vocabulary).
        h: at least 0 and at most 1.
    """
    if h == 1:  # exactly, in spite of rounding
        return logits
    xp, entropy = array_namespace(logits), min_and_shannon_entropy(logits)[1]
    falling = falling_logits(logits)
    below = subtract_max(falling)
    weights = xp.exp(below)
    # The first weight is 1; left out of the sums, it does not hide the small ones.
    others = xp.concat([xp.zeros_like(weights[..., :1]), weights[..., 1:]], axis=-1)
    rest = xp.cumulative_sum(others, axis=-1, dtype=entropy.dtype)
    moment = others * xp.where(others > 0, below, 0.0)
    moments = xp.cumulative_sum(moment, axis=-1, dtype=entropy.dtype)
    nats = xp.log1p(rest) - moments / (1 + rest)
    stays = at_least(h * entropy[..., None], nats) & (weights > 0)
    count = xp.sum(xp.astype(stays, xp.int32), axis=-1, keepdims=True)
    return first_tokens(logits, xp.take_along_axis(falling, count - 1, axis=-1), count)


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"top_h": TopH}
