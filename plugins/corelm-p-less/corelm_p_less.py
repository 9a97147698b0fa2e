"""p-less sampling: a filter without a parameter."""

from corelm import Sampler, hookimpl, keep
from corelm.filters import array_namespace, at_least, subtract_max, widen


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
        xp = array_namespace(logits)
        weights = widen(xp.exp(subtract_max(logits)))  # p, up to a factor
        total = xp.sum(weights, axis=-1, keepdims=True)
        squares = xp.sum(weights * weights, axis=-1, keepdims=True)
        return keep(logits, at_least(weights, squares / total))


@hookimpl
def corelm_samplers():
    return {"p_less": PLess}
