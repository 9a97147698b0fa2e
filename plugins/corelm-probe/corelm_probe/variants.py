"""Engines' definitions of samplers that corelm defines differently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Context, Sampler, mask_logits, param, softmax
from corelm.filters import change_logits


class TopKTies(Sampler):
    """Keep the k most likely tokens; of those that tie at the cut, keep all or chosen ones.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.4, 0.2, 0.2, 0.2])
        >>> corelm.sampling_distribution(TopKTies(k=2), logits).round(2).tolist()
        [0.4, 0.2, 0.2, 0.2]
        >>> corelm.sampling_distribution(TopKTies(k=2, first=(3,)), logits).round(2).tolist()
        [0.67, 0.0, 0.0, 0.33]
    """

    reads = frozenset()

    k: int = param(1, "how many tokens stay", ge=1)
    first: tuple[int, ...] = param((), "ids that stay first of equal tokens; none keeps them all")

    def __call__(self, logits: Array, context: Context) -> Array:
        if self.k >= logits.shape[-1]:
            return logits
        order = _falling(logits, self.first)
        if self.first:
            return mask_logits(logits, _ranks(order) < self.k)
        last = np.take_along_axis(logits, order[:, self.k - 1 : self.k], axis=-1)
        return mask_logits(logits, logits >= last)


class TopPTies(Sampler):
    """Keep the nucleus; of the tokens that tie with its last one, keep all, chosen ones or none.

    The last one is the token that crosses p.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.4, 0.2, 0.2, 0.2])
        >>> corelm.sampling_distribution(TopPTies(p=0.5), logits).round(2).tolist()
        [0.4, 0.2, 0.2, 0.2]
        >>> corelm.sampling_distribution(TopPTies(p=0.5, crossing=False), logits).tolist()
        [1.0, 0.0, 0.0, 0.0]
    """

    reads = frozenset()

    p: float = param(1.0, "the least probability that stays", ge=0, le=1)
    first: tuple[int, ...] = param((), "ids that stay first of equal tokens; none keeps them all")
    crossing: bool = param(True, "keep the token that crosses p")

    def __call__(self, logits: Array, context: Context) -> Array:
        order = _falling(logits, self.first)
        q = np.take_along_axis(softmax(logits.astype(np.float64)), order, axis=-1)
        sums = np.cumsum(q, axis=-1)
        last = np.minimum((sums < self.p - 1e-9).sum(axis=-1, keepdims=True), q.shape[-1] - 1)
        if not self.crossing:
            last = np.maximum(last - 1, 0)
        if self.first or not self.crossing:
            return mask_logits(logits, _ranks(order) <= last)
        least = np.take_along_axis(logits, np.take_along_axis(order, last, axis=-1), axis=-1)
        return mask_logits(logits, logits >= least)


class AlwaysDivide(Sampler):
    """Divide the logits of seen tokens regardless of their sign, as in the CTRL paper.

    Example:
        >>> import corelm
        >>> AlwaysDivide(penalty=2.0)(np.array([[4.0, -1.0]]), corelm.Context.of([[0, 1]])).tolist()
        [[2.0, -0.5]]
    """

    reads = frozenset({"tokens"})
    is_shift_invariant = False

    penalty: float = param(1.0, "divides the logits", gt=0)
    last: int = param(0, "how many of the last tokens count; 0 is all", ge=0)
    skip_prompt: bool = param(False, "count only tokens that were drawn")

    def __call__(self, logits: Array, context: Context) -> Array:
        past = context.past(self.last, self.skip_prompt)
        rows = np.arange(len(past))[:, None]
        return change_logits(logits, rows, past, lambda logit: logit / self.penalty)


def _falling(logits: Array, first: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the ids of each row in falling order; on ties, ids in `first` come first."""
    place = np.full(logits.shape[-1], len(first))
    place[list(first)] = np.arange(len(first))
    return np.lexsort((np.broadcast_to(place, logits.shape), -logits), axis=-1)


def _ranks(order: NDArray[np.int64]) -> NDArray[np.int64]:
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[-1])[None, :], axis=-1)
    return ranks
