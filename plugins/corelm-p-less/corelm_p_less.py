"""p-less sampling: a filter without a parameter."""

from corelm import Sampler, hookimpl
from corelm.filters import apply_temperature, array_namespace, min_entropy, within_nats


class PLess(Sampler):
    """Keep the tokens that are at least as likely as two draws are to be equal.

    Two independent draws are equal with probability sum p^2: high if the model is confident, low
    if it is not. The most likely token always stays.

    Source: Tan et al. 2025, p-less sampling, arXiv 2509.23234.

    Example:
        >>> import corelm, numpy
        >>> corelm.sampling_distribution(PLess(), numpy.log([0.5, 0.4, 0.1])).round(4).tolist()
        [0.5556, 0.4444, 0.0]
    """

    kind = "filter"
    reads = frozenset()
    is_argmax_invariant = True

    def __call__(self, logits, context):
        # With M the min-entropy, -ln max p, sum p^2 is M(logits) - M(2 * logits) nats below max p.
        # Rounding may put that below 0.
        nats = min_entropy(logits) - min_entropy(apply_temperature(logits, 0.5))
        return within_nats(logits, array_namespace(logits).maximum(nats, 0.0))


@hookimpl
def corelm_samplers():
    return {"p_less": PLess}
