"""A row of logits as weights: its entropy, surprisals, means and masses.

The weights have the type of the logits; all sums of them are in float64. Terms that two
distributions have in common are summed in the same order on both sides, so that they cancel: up
to the last bits, a filter's divergence is -ln of the mass that it keeps, and the divergence of an
unchanged distribution is 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.lazy import cached_property
from corelm.numerics.distributions import Array

LEAST = -1e30
"""A logit with weight 0, used in place of minus infinity: 0 * -inf would be nan in the sums."""

FEW = 0.25
"""If at most this share of the vocabulary can be drawn, it is faster to gather these tokens
first."""


class Distribution:
    """A row of logits, as weights relative to the largest.

    Args:
        row: (vocabulary,) logits, at least one of them finite.
        whole: True to look at all tokens; otherwise only at the tokens that can be drawn, if they
            are few.

    Attributes:
        row: the logits.
        possible: (vocabulary,) True for the tokens that can be drawn.
        count: the number of tokens that can be drawn.
        below: (tokens,) the logits of the tokens looked at, minus the largest.
        top: the index of the likeliest token among them, the first one on ties.
        rest: the sum of all weights but the likeliest token's, which is 1.

    Example:
        >>> thirds = Distribution(np.log([0.5, 0.25, 0.25]))
        >>> round(thirds.entropy, 4), round(thirds.surprisal(1), 4), round(thirds.rest, 4)
        (1.0397, 1.3863, 1.0)
    """

    def __init__(self, row: Array, whole: bool = False) -> None:
        self.row = row
        self.possible: NDArray[np.bool_] = row > -np.inf
        self.count = int(np.count_nonzero(self.possible))
        # A filter often leaves a handful of 100,000 tokens: gather them instead of summing zeros.
        few = not whole and self.count < FEW * row.size
        self._tokens: Any = np.flatnonzero(self.possible) if few else slice(None)
        logits = row[self._tokens]
        self.top = int(logits.argmax())
        self._largest = logits[self.top]
        with np.errstate(over="ignore"):  # overflows become -inf, which LEAST replaces
            self.below: Array = logits - self._largest
        np.maximum(self.below, LEAST, out=self.below)
        self._others: Array = np.exp(self.below)  # the weights, 0 for the likeliest token
        self._others[self.top] = 0
        self.rest = _sum(self._others)

    @property
    def peak(self) -> float:
        """The surprisal of the likeliest token in nats, which is ln of the sum of the weights."""
        return math.log1p(self.rest)

    @cached_property
    def entropy(self) -> float:
        """The entropy in nats."""
        return self.peak - self._mean(self.below)

    def surprisal(self, token: int) -> float:
        """Return the surprisal of one token in nats; infinite if it cannot be drawn."""
        return self.peak + (float(self._largest) - float(self.row[token]))

    def mean(self, values: Array) -> float:
        """Return the expectation of (vocabulary,) values."""
        return self._mean(values[self._tokens])

    def _mean(self, values: Array) -> float:
        return (_sum(self._others * values) + float(values[self.top])) / (1 + self.rest)

    @cached_property
    def varentropy(self) -> float:
        """The variance of the surprisal of a token drawn from it, in nats squared."""
        # (weight * depth) * depth: the square of LEAST alone would overflow.
        squares = _sum(self._others * self.below * self.below) / (1 + self.rest)
        return max(squares - self._mean(self.below) ** 2, 0.0)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(vocabulary,) the probability of each token."""
        probabilities = np.zeros(self.row.size)
        weights = self._others.astype(np.float64)
        weights[self.top] = 1
        probabilities[self._tokens] = weights / (1 + self.rest)
        return probabilities

    def mass(self, other: Distribution) -> float:
        """Return the probability of the tokens that are possible in a second distribution.

        Needs a distribution that looks at all tokens.
        """
        if other.count == self.count:  # exactly 1: a sum of the same weights could round
            return 1.0
        chosen = other.possible
        total = _sum(self._others[other._tokens] * chosen[other._tokens])
        return min((total + float(chosen[self.top])) / (1 + self.rest), 1.0)


def _sum(values: Array) -> float:
    return float(values.sum(dtype=np.float64))
