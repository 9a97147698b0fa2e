"""The outcomes of coins: distributions of a batch, each with its weight in each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from corelm.numerics.arrays import array_namespace, widen
from corelm.numerics.distributions import Array, log_softmax


@dataclass(frozen=True, eq=False)
class Branches:
    """The distributions of a batch after coins.

    Attributes:
        parts: the weight of each branch, (batch,), and its logits, (batch, vocabulary). The weights
            of a row add up to 1; a row without a branch has the weight 0 there.
    """

    parts: tuple[tuple[Array, Array], ...]

    @classmethod
    def of(cls, parts: Sequence[tuple[Array, Array | Branches]]) -> Array | Branches:
        """Return the branches of branches; logits if one is left.

        Args:
            parts: weights, and logits or branches of their own.
        """
        flat = [
            (weights * within, logits)
            for weights, outcome in parts
            for within, logits in parts_of(outcome)
        ]
        if isinstance(flat[0][0], np.ndarray):  # a compiler's tracers have no values to look at
            flat = [part for part in flat if part[0].any()]
        return flat[0][1] if len(flat) == 1 else cls(tuple(flat))

    @classmethod
    def of_toss(cls, probability: Array, heads: Array, tails: Array) -> Array | Branches:
        """Return the two branches of a coin; logits if all rows have the same outcome."""
        probability = widen(probability)
        return cls.of([(probability, heads), (1 - probability, tails)])

    def then(self, outcomes: Iterable[Array | Branches]) -> Array | Branches:
        """Return the branches after a stage that acted on each of them."""
        weights = [part[0] for part in self.parts]
        return Branches.of([*zip(weights, outcomes, strict=True)])


def mixture_of(state: Array | Branches) -> Array:
    """Return the logits of the mixture of branches, (batch, vocabulary); logits as they are.

    They are log-probabilities, but a row of one branch keeps its logits.
    """
    if not isinstance(state, Branches):
        return state
    weighted = [_weighted(*part) for part in state.parts]
    if isinstance(weighted[0], np.ndarray):
        # Most chains leave few tokens, and `logaddexp` is slow.
        tokens = np.flatnonzero(reduce(np.maximum, [w.max(axis=0) for w in weighted]) > -np.inf)
        total = np.full_like(weighted[0], -np.inf)
        total[:, tokens] = reduce(_logaddexp, [each[:, tokens] for each in weighted])
    else:
        total = reduce(_logaddexp, weighted)
    for weights, logits in state.parts:
        alone = (weights == 1)[:, None]
        if not isinstance(total, np.ndarray) or alone.any():
            total = array_namespace(total).where(alone, logits, total)
    return total


def rows_of(outcomes: Sequence[tuple[Array, Array | Branches]]) -> Array | Branches:
    """Return the rows of several outcomes.

    Args:
        outcomes: (batch,) bool, True for the rows to take from it, with logits or branches.
    """
    if any(isinstance(outcome, Branches) for _, outcome in outcomes):
        return Branches.of([(widen(rows), outcome) for rows, outcome in outcomes])
    (_, result), *others = outcomes
    for rows, outcome in others:
        result = array_namespace(rows).where(rows[:, None], outcome, result)
    return result


def parts_of(state: Array | Branches) -> tuple[tuple[Array, Array], ...]:
    """Return the weights and logits of branches; of logits, with the weight 1."""
    if isinstance(state, Branches):
        return state.parts
    xp = array_namespace(state)
    return ((widen(xp.ones_like(state[:, 0])), state),)


def _weighted(weights: Array, logits: Array) -> Array:
    xp = array_namespace(logits)
    with np.errstate(divide="ignore"):  # the logarithm of a weight of 0
        return log_softmax(logits) + xp.astype(xp.log(weights), logits.dtype)[:, None]


def _logaddexp(one: Array, other: Array) -> Array:
    xp = array_namespace(one)
    # The gradient of `logaddexp` is NaN where both are minus infinity.
    neither = (one == -np.inf) & (other == -np.inf)
    finite = (xp.where(neither, 0, array) for array in (one, other))
    return xp.where(neither, -np.inf, xp.logaddexp(*finite))
