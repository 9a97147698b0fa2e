"""One distribution beside another, row by row: entropy, divergence, mass kept, exactly.

The weights are in the type of the logits, all sums of them in float64. What two distributions
have in common is added up in the same order on both sides, so that it cancels: a filter's
divergence is -ln of the mass that it keeps, and that of what changes nothing is 0, but for the
last bits of float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from corelm.distributions import Array

LEAST = -1e30
"""A logit so far below the largest that its weight is 0; the product of both is 0 too."""


class Weighed:
    """A row of logits as weights in units of the largest.

    Args:
        row: (vocabulary,) logits, with a finite entry.

    Attributes:
        top: the likeliest token, the lowest id on ties.
        below: (vocabulary,) the logits, less the largest.
        rest: the sum of the weights, but for the likeliest token's, which is 1.
    """

    def __init__(self, row: Array) -> None:
        self.row = row
        self.top = int(row.argmax())
        with np.errstate(over="ignore"):
            self.below: Array = row - row[self.top]
        np.maximum(self.below, LEAST, out=self.below)
        self._others: Array = np.exp(self.below)  # the weights, 0 for the likeliest token
        self._others[self.top] = 0
        self.rest = float(self._others.sum(dtype=np.float64))

    @cached_property
    def possible(self) -> Array:
        """(vocabulary,): which tokens can be drawn."""
        return np.asarray(self.row > -np.inf)

    @property
    def peak(self) -> float:
        """The surprisal of the likeliest token in nats, also ln of the sum of the weights."""
        return float(np.log1p(self.rest))

    @cached_property
    def entropy(self) -> float:
        """In nats."""
        return self.peak - self.mean(self.below)

    def mean(self, values: Array) -> float:
        """The expectation of (vocabulary,) values under this distribution."""
        total = float(np.multiply(self._others, values).sum(dtype=np.float64))
        return (total + float(values[self.top])) / (1 + self.rest)

    def mass(self, tokens: Array) -> float:
        """The probability of the tokens where a (vocabulary,) mask is true."""
        others = float(np.multiply(self._others, tokens).sum(dtype=np.float64))
        return (others + float(tokens[self.top])) / (1 + self.rest)

    def surprisal(self, token: int) -> float:
        """Of one token, in nats; infinite where it is impossible."""
        return self.peak - float(self.below[token]) if self.possible[token] else math.inf


@dataclass(frozen=True)
class Figures:
    """What a sampler made of the model's distribution p at one position: q, beside p.

    Attributes:
        entropy: of q, in nats.
        model_entropy: of p, in nats.
        kl_to_model: KL(q || p) in nats: how far q is from p.
        mass_kept: the probability under p of what can be drawn from q.
        tokens_kept: how many tokens that is.
        expected_surprisal: H(q, p) in nats: how surprising what is drawn is under p, on average.
        top_probability: of the token that is likeliest under q.
    """

    entropy: float
    model_entropy: float
    kl_to_model: float
    mass_kept: float
    tokens_kept: int
    expected_surprisal: float
    top_probability: float


def beside(q: Weighed, p: Weighed) -> Figures:
    """The figures of a distribution q beside the model's p, under which all of q is possible.

    Example:
        >>> half = Weighed(np.array([0.0, 0.0, -np.inf, -np.inf]))
        >>> quarters = Weighed(np.zeros(4))
        >>> figures = beside(half, quarters)
        >>> round(figures.entropy, 4), round(figures.kl_to_model, 4), figures.mass_kept
        (0.6931, 0.6931, 0.5)
    """
    expected = p.peak - q.mean(p.below)
    return Figures(
        entropy=q.entropy,
        model_entropy=p.entropy,
        kl_to_model=max(expected - q.entropy, 0.0),
        mass_kept=p.mass(q.possible),
        tokens_kept=int(np.count_nonzero(q.possible)),
        expected_surprisal=expected,
        top_probability=1 / (1 + q.rest),
    )
