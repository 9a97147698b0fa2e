"""p-less sampling: a filter without a number to choose."""

from corelm import Sampler, apply_temperature, hookimpl, param
from corelm.filters import array_namespace, min_entropy, within_nats


class PLess(Sampler):
    """Keep the tokens that are at least as likely as two draws are to be equal.

    Two independent draws are equal with probability sum p^2: high if the model is confident, low
    if it is not. The most likely token always stays. With norm, the bar is lower: of V tokens,
    (V sum p^2 - 1) / (V - 1), which is 0 where all are equally likely.

    Source: Tan et al. 2025, p-less sampling, arXiv 2509.23234.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.4, 0.35, 0.15, 0.1])
        >>> corelm.sampling_distribution(PLess(), logits).round(4).tolist()
        [0.5333, 0.4667, 0.0, 0.0]
    """

    kind = "filter"
    reads = frozenset()
    is_argmax_invariant = True

    norm: bool = param(False, "use the lower bar")

    def __call__(self, logits, context):
        # With M the min-entropy, -ln max p, sum p^2 is M(logits) - M(2 * logits) nats below max p.
        # Rounding may put that below 0.
        xp, size = array_namespace(logits), logits.shape[-1]
        first, second = min_entropy(logits), min_entropy(apply_temperature(logits, 0.5))
        nats = xp.maximum(first - second, 0.0)
        if self.norm:  # with norm, the bar is sum p^2 times this factor
            share = (size - xp.exp(2 * first - second)) / max(size - 1, 1)
            some = share > 0
            nats = xp.where(some, nats - xp.log(xp.where(some, share, 1.0)), float("inf"))
        return within_nats(logits, nats)


@hookimpl
def corelm_samplers():
    return {"p_less": PLess}
