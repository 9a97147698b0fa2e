"""The most likely tokens, up to a share of the entropy."""

from __future__ import annotations

from collections.abc import Mapping

from corelm import Array, Context, Sampler, hookimpl, param
from corelm.filters import top_h


class TopH(Sampler):
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

    def __call__(self, logits: Array, context: Context) -> Array:
        return top_h(logits, self.h) if self.h < 1 else logits


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"top_h": TopH}
