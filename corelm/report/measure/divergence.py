"""One distribution beside another: entropy, divergence, mass kept, exactly.

`divergence` is the definition, of one row; `ModelRows` has the figures of many rows at once, from a
kernel where there is one.

The weights are in the type of the logits, all sums of them in float64. What two distributions
have in common is added up alike on both sides, so that it cancels: a filter's divergence is -ln
of the mass that it keeps, and that of what changes nothing is 0, but for the last bits.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.numerics.distributions import Array, min_and_shannon_entropy, rows_are_valid

Floats = NDArray[np.float64]

LEAST = -1e30
"""A logit so far below the largest that its weight is 0; the product of both is 0 too."""

FEW = 0.25
"""Below this share of the vocabulary it pays to pick out the tokens that can be drawn."""


class Distribution:
    """A row of logits, as weights in units of the largest.

    Args:
        row: (vocabulary,) logits, at least one of them finite.
        whole: whether to look at all tokens, and not at those alone that can be drawn where
            they are few.

    Attributes:
        row: the logits.
        possible: (vocabulary,) which tokens can be drawn.
        count: how many they are.
        below: (tokens,) the logits that are looked at, less the largest.
        top: where the likeliest token is among them, the first one on ties.
        rest: the sum of the weights, but for that of the likeliest token, which is 1.

    Example:
        >>> thirds = Distribution(np.log([0.5, 0.25, 0.25]))
        >>> round(thirds.entropy, 4), round(thirds.surprisal(1), 4), round(thirds.rest, 4)
        (1.0397, 1.3863, 1.0)
    """

    def __init__(self, row: Array, whole: bool = False) -> None:
        self.row = row
        self.possible: NDArray[np.bool_] = row > -np.inf
        self.count = int(np.count_nonzero(self.possible))
        few = not whole and self.count < FEW * row.size
        self._tokens: Any = np.flatnonzero(self.possible) if few else slice(None)
        logits = row[self._tokens]
        self.top = int(logits.argmax())
        self._largest = logits[self.top]
        with np.errstate(over="ignore"):
            self.below: Array = logits - self._largest
        np.maximum(self.below, LEAST, out=self.below)
        self._others: Array = np.exp(self.below)  # the weights, 0 for the likeliest token
        self._others[self.top] = 0
        self.rest = _sum(self._others)

    @property
    def peak(self) -> float:
        """The surprisal of the likeliest token in nats, also ln of the sum of the weights."""
        return math.log1p(self.rest)

    @cached_property
    def entropy(self) -> float:
        """In nats."""
        return self.peak - self._mean(self.below)

    def surprisal(self, token: int) -> float:
        """Of one token in nats; infinite where it is impossible."""
        return self.peak + (float(self._largest) - float(self.row[token]))

    def mean(self, values: Array) -> float:
        """The expectation of (vocabulary,) values."""
        return self._mean(values[self._tokens])

    def _mean(self, values: Array) -> float:
        return (_sum(self._others * values) + float(values[self.top])) / (1 + self.rest)

    def mass(self, other: Distribution) -> float:
        """The probability here, where all tokens are looked at, of what is possible in another."""
        if other.count == self.count:
            return 1.0
        chosen = other.possible
        total = _sum(self._others[other._tokens] * chosen[other._tokens])
        return min((total + float(chosen[self.top])) / (1 + self.rest), 1.0)


def _sum(values: Array) -> float:
    return float(values.sum(dtype=np.float64))


def known(nats: Floats) -> Floats:
    """The surprisals of tokens that can be drawn, nan for others."""
    return np.where(nats < np.inf, nats, np.nan)


@dataclass(frozen=True)
class Divergence:
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


FIGURES = tuple(field.name for field in fields(Divergence))


def divergence(q: Distribution, p: Distribution) -> Divergence:
    """The figures of a distribution q beside the model's p.

    Args:
        q: nothing is possible in it that is impossible in p.
        p: a whole one.

    Example:
        >>> half = Distribution(np.array([0.0, -np.inf, -np.inf, 0.0]))
        >>> quarters = Distribution(np.zeros(4), whole=True)
        >>> figures = divergence(half, quarters)
        >>> round(figures.entropy, 4), round(figures.kl_to_model, 4), figures.mass_kept
        (0.6931, 0.6931, 0.5)
    """
    expected = p.peak - q.mean(p.below)
    return Divergence(
        entropy=q.entropy,
        model_entropy=p.entropy,
        kl_to_model=max(expected - q.entropy, 0.0),
        mass_kept=p.mass(q),
        tokens_kept=q.count,
        expected_surprisal=expected,
        top_probability=1 / (1 + q.rest),
    )


@dataclass(frozen=True)
class Comparison:
    """What samplers' distributions are beside the model's, row by row.

    Attributes:
        figures: (rows, figures) in the order of FIGURES.
        surprisal: (rows,) of one token of each row under the sampler's, in nats; nan where it is
            impossible.
        revived: the first token that is possible there and impossible in the model's; None
            where there is none.
    """

    figures: Floats
    surprisal: Floats
    revived: int | None


class ModelRows:
    """The model's distributions at some positions: what each sampler's are compared with.

    Args:
        logits: (rows, vocabulary).

    Example:
        >>> model = ModelRows(np.zeros((1, 4)))
        >>> half = model.compare(np.array([[0.0, -np.inf, -np.inf, 0.0]]), np.array([3]))
        >>> half.figures[0, FIGURES.index("mass_kept")], half.surprisal.round(4).tolist()
        (np.float64(0.5), [0.6931])
    """

    def __init__(self, logits: Array) -> None:
        self.logits = logits
        self._rows = native.as_rows(logits)

    @cached_property
    def entropy(self) -> Floats:
        """(rows,) nats."""
        if self._rows is None:
            return np.array([p.entropy for p in self._each])
        return np.asarray(self._known[:, -1])

    def compare(self, logits: Array, tokens: NDArray[np.int64]) -> Comparison | None:
        """What a sampler made of the logits, beside what they were.

        Args:
            logits: (rows, vocabulary) the sampler's.
            tokens: (rows,) one of each row, whose surprisal is wanted.

        Returns:
            None where a row is no distribution.
        """
        rows = native.as_rows(logits)
        if rows is None or self._rows is None:
            return self._by_definition(logits, tokens)
        found = np.empty((len(rows), len(FIGURES) + 1))
        proper = native.kernels.figures(rows, self._rows, self._known, tokens, found)
        if not proper and not rows_are_valid(logits):
            return None
        first = None if proper else revived(logits, self.logits)
        return Comparison(found[:, :-1], found[:, -1], first)

    def _by_definition(self, logits: Array, tokens: NDArray[np.int64]) -> Comparison | None:
        if not rows_are_valid(logits):
            return None
        rows = [Distribution(row) for row in logits]
        figures = [astuple(divergence(q, p)) for q, p in zip(rows, self._each, strict=True)]
        nats = [q.surprisal(token) for q, token in zip(rows, tokens.tolist(), strict=True)]
        return Comparison(np.array(figures), known(np.array(nats)), revived(logits, self.logits))

    @cached_property
    def _each(self) -> list[Distribution]:
        return [Distribution(row, whole=True) for row in self.logits]

    @cached_property
    def _known(self) -> Floats:
        """What the kernel is told of each row; its entropy comes last."""
        peak, entropy = min_and_shannon_entropy(self.logits)
        possible = np.count_nonzero(self.logits > -np.inf, axis=1)
        return np.column_stack([self.logits.argmax(axis=1), peak, possible, entropy])


def revived(logits: Array, model: Array) -> int | None:
    """The first token of any row that is possible in it and impossible for the model.

    Args:
        logits: (rows, vocabulary) a sampler's.
        model: the model's, same shape.
    """
    tokens = np.nonzero((logits > -np.inf) > (model > -np.inf))[1]
    return int(tokens[0]) if tokens.size else None
