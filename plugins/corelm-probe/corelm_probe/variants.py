"""Engines' definitions of samplers that corelm defines differently, and drafts that they trust."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm import Array, Context, Sampler, mask_logits, param, softmax
from corelm.filters import change_logits

STOCHASTIC = corelm.sampler("stochastic")


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


class LossyDraft(Sampler):
    """Speculative decoding that changes the distribution: what it draws in place of a chain's.

    A token of the draft's distribution q is accepted with the probability min(1, leniency p / q).
    After a rejected one, the token is drawn from the residual max(p - q, 0), or from p itself.
    Lossless decoding has a leniency of 1 and the residual.

    Example:
        >>> import corelm, numpy
        >>> logits, greedy = numpy.log([0.5, 0.3, 0.2]), corelm.sampler("greedy")
        >>> of = lambda **how: corelm.sampling_distribution(LossyDraft(draft=greedy, **how), logits)
        >>> of().round(2).tolist(), of(leniency=1.5).round(2).tolist()
        ([0.5, 0.3, 0.2], [0.75, 0.15, 0.1])
        >>> of(residual=False).round(2).tolist()
        [0.75, 0.15, 0.1]
    """

    reads = frozenset()

    chain: Sampler = param(STOCHASTIC, "of the settings, which gives p")
    draft: Sampler = param(STOCHASTIC, "the chain that gives q")
    logits: tuple[float, ...] = param((), "of the draft's model; none for the same model")
    leniency: float = param(1.0, "what p is multiplied by; infinity accepts all", ge=1)
    residual: bool = param(True, "draw from the residual, not from p")
    share: float = param(1.0, "of the tokens that the draft proposes", ge=0, le=1)
    from_first: bool = param(False, "the first token after a prompt is proposed, too")

    def __call__(self, logits: Array, context: Context) -> Array:
        p = softmax(self.chain(logits, context).astype(np.float64))
        drafted = np.tile(np.array(self.logits), (len(p), 1)) if self.logits else logits
        q = softmax(self.draft(drafted, context).astype(np.float64))
        accepted = q if np.isinf(self.leniency) else np.minimum(q, self.leniency * p)
        rest = np.maximum(p - q, 0) if self.residual else p
        total = rest.sum(axis=-1, keepdims=True)
        rest = np.divide(rest, total, out=p.copy(), where=total > 0)
        lossy = accepted + (1 - accepted.sum(axis=-1, keepdims=True)).clip(0) * rest
        with np.errstate(divide="ignore"):
            mixed = np.log((1 - self.share) * p + self.share * lossy)
        return np.asarray(mixed, dtype=logits.dtype)


def _falling(logits: Array, first: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the ids of each row in falling order; on ties, ids in `first` come first."""
    place = np.full(logits.shape[-1], len(first))
    place[list(first)] = np.arange(len(first))
    return np.lexsort((np.broadcast_to(place, logits.shape), -logits), axis=-1)


def _ranks(order: NDArray[np.int64]) -> NDArray[np.int64]:
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[-1])[None, :], axis=-1)
    return ranks
