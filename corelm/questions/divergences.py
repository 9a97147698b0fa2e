"""The exact divergence of a sampler's distribution from the model's: entropy, KL, mass kept.

`divergence` is the definition, for one row. `ModelRows` compares many rows with a model's rows;
compiled kernels serve float32 (`corelm/native/backend.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple, dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.chain_stages import run_stages
from corelm.contracts.context import Context
from corelm.contracts.sampling import Sampler
from corelm.contracts.validation import invalid_result, restored_token
from corelm.lazy import cached_property
from corelm.native import rows
from corelm.native.backend import kernel
from corelm.numerics.distributions import Array, min_and_shannon_entropy, rows_are_valid, surprisals
from corelm.numerics.row_weights import Distribution

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Divergence:
    """The figures of a sampler's distribution q and the model's p at one position.

    Attributes:
        entropy: of q, in nats.
        model_entropy: of p, in nats.
        kl_to_model: KL(q || p) in nats: the distance of q from p.
        mass_kept: the probability under p of the tokens that can be drawn from q.
        tokens_kept: the number of tokens that can be drawn from q.
        expected_surprisal: H(q, p) in nats: the mean surprisal under p of a token drawn from q.
            `ModelRows` with `ends` takes the mean over the other tokens that q may draw.
        top_probability: the probability of the token that is likeliest under q.
        varentropy: the variance of the surprisal under q of a token drawn from it, nats squared.
        total_variation: half the sum of |q - p|: 0 if they are the same, at most 1.
        jensen_shannon: the mean KL divergence of q and p from their mean, in nats: 0 if they are
            the same, at most ln 2.
    """

    entropy: float
    model_entropy: float
    kl_to_model: float
    mass_kept: float
    tokens_kept: int
    expected_surprisal: float
    top_probability: float
    varentropy: float
    total_variation: float
    jensen_shannon: float


DIVERGENCES = tuple(field.name for field in fields(Divergence))
EXPECTED, TOP = map(DIVERGENCES.index, ("expected_surprisal", "top_probability"))
HALF = 0.5
"""The least mass of tokens other than ends at which the ends can be subtracted without loss."""


def divergence(q: Distribution, p: Distribution) -> Divergence:
    """Compare a distribution q with the model's p.

    Source: Kullback and Leibler 1951, On information and sufficiency, doi 10.1214/aoms/1177729694.

    Args:
        q: a distribution of tokens that are all possible in p.
        p: a distribution that looks at all tokens.

    Example:
        >>> half = Distribution(np.array([0.0, -np.inf, -np.inf, 0.0]))
        >>> quarters = Distribution(np.zeros(4), whole=True)
        >>> figures = divergence(half, quarters)
        >>> round(figures.entropy, 4), round(figures.kl_to_model, 4), figures.mass_kept
        (0.6931, 0.6931, 0.5)
    """
    expected = p.peak - q.mean(p.below)
    own, model = q.probabilities, p.probabilities
    # KL(q || p) = H(q, p) - H(q): a sum of q * ln(q / p) would need the logits of q and p side by
    # side, and 0 * inf where q is 0.
    return Divergence(
        entropy=q.entropy,
        model_entropy=p.entropy,
        # Rounding may take the divergence of two nearly equal distributions below 0.
        kl_to_model=max(expected - q.entropy, 0.0),
        mass_kept=p.mass(q),
        tokens_kept=q.count,
        expected_surprisal=expected,
        top_probability=1 / (1 + q.rest),
        varentropy=q.varentropy,
        total_variation=float(np.abs(own - model).sum()) / 2,
        jensen_shannon=jensen_shannon(own, model),
    )


def jensen_shannon(q: Floats, p: Floats) -> float:
    """Return the Jensen-Shannon divergence of two distributions in nats.

    Source: Lin 1991, Divergence measures based on the Shannon entropy, doi 10.1109/18.61115.
    """
    mean = (q + p) / 2
    to_mean = [float(np.sum(x[x > 0] * np.log(x[x > 0] / mean[x > 0]))) for x in (q, p)]
    return max(sum(to_mean) / 2, 0.0)


@dataclass(frozen=True)
class Compared:
    """The figures of a sampler's distributions and the model's, row by row.

    Attributes:
        figures: (rows, figures) in the order of `ModelRows.names`.
        surprisal: (rows,) nats, of one token of each row under the sampler; nan if it cannot be
            drawn.
        restored: the first token that the sampler can draw and the model cannot; None if there is
            none.
    """

    figures: Floats
    surprisal: Floats
    restored: int | None


class ModelRows:
    """The model's distributions at some positions, for comparison with samplers' distributions.

    Args:
        logits: (rows, vocabulary).
        ends: the tokens that end a text, which the expected surprisal leaves out.

    Attributes:
        names: the names of the figures, in the order of `Compared.figures`.

    Example:
        >>> import corelm
        >>> model = ModelRows(np.log([[0.5, 0.3, 0.1, 0.1]]))
        >>> context = corelm.Context.of([[0]])
        >>> of_two = model.compare(corelm.sampler("top_k(k=2)"), np.array([0]), context)
        >>> of_two.figures[0, model.names.index("mass_kept")].round(4), of_two.surprisal.round(4)
        (np.float64(0.8), array([0.47]))
    """

    names: ClassVar[tuple[str, ...]] = DIVERGENCES

    def __init__(self, logits: Array, ends: Collection[int] = ()) -> None:
        self.logits = logits
        self._ends = np.array(list(ends), dtype=np.int64)

    # The model's side is cached: several samplers are compared with it at the same positions.

    @cached_property
    def each(self) -> list[Distribution]:
        """The distribution of each row, for the definition."""
        return [Distribution(row, whole=True) for row in self.logits]

    @cached_property
    def stats(self) -> Floats:
        """(rows, 4), for the kernel: likeliest token, min-entropy, possible tokens, entropy."""
        peak, entropy = min_and_shannon_entropy(self.logits)
        possible = np.count_nonzero(self.logits > -np.inf, axis=1)
        return np.column_stack([self.logits.argmax(axis=1), peak, possible, entropy])

    @property
    def entropy(self) -> Floats:
        """The entropy of each row in nats: (rows,)."""
        return _entropy(self.logits, self)

    def moments(self, temperatures: Floats) -> Floats:
        """Sum the weights at some temperatures, times the logits, and times their squares.

        Logits and weights are relative to the largest. The likeliest token is left out, because its
        weight is 1 at any temperature and its logit 0, so that it adds nothing to the other sums.

        Args:
            temperatures: (temperatures,), above 0.

        Returns:
            (rows, temperatures, 3).

        Example:
            >>> ModelRows(np.zeros((1, 4))).moments(np.array([1.0])).tolist()
            [[[3.0, 0.0, 0.0]]]
        """
        return moments(self.logits, temperatures)

    def compare(self, sampler: Sampler, tokens: NDArray[np.int64], context: Context) -> Compared:
        """Call a sampler on the logits, and compare what it returns with them.

        The comparison validates the last stage's output in the same pass.

        Args:
            sampler: a sampler or a chain.
            tokens: (rows,) the token of each row whose surprisal is wanted.
            context: the past of each row.

        Raises:
            SamplerError: a stage raised, did not return distributions, or restored a token.
            UsageError: a stage cannot do its work here; names the stage.
        """
        logits = run_stages(sampler, self.logits, context)
        compared = self.compare_logits(logits, tokens)
        if compared is None:
            raise invalid_result(sampler._last_stage, logits, context.position)
        if compared.restored is not None:
            raise restored_token(sampler, compared.restored, context.position)
        return compared

    def compare_logits(self, logits: Array, tokens: NDArray[np.int64]) -> Compared | None:
        """Compare a sampler's logits with the model's.

        Args:
            logits: (rows, vocabulary), the sampler's.
            tokens: (rows,) the token of each row whose surprisal is wanted.

        Returns:
            The figures, or None if a row is not a distribution.
        """
        logits = logits.astype(np.result_type(logits, self.logits), copy=False)
        figures, fits = compare_rows(logits, self, tokens)
        # The flag covers invalid rows and restored tokens: tell them apart only where it is false.
        if not fits and not rows_are_valid(logits):
            return None
        first = None if fits else restored(logits, self.logits)
        if fits and (logits[:, self._ends] > -np.inf).any():
            figures[:, EXPECTED] = self._expected_without_ends(logits, figures, tokens)
        return Compared(figures[:, :-1], figures[:, -1], first)

    @cached_property
    def _nats_of_ends(self) -> Floats:
        """The surprisal of each end under the model, 0 if it has none: (rows, ends)."""
        rows = len(self.logits)
        nats = [surprisals(self.logits, np.full(rows, end)) for end in self._ends.tolist()]
        return np.nan_to_num(np.column_stack(nats), posinf=0.0)

    def _expected_without_ends(
        self, logits: Array, figures: Floats, tokens: NDArray[np.int64]
    ) -> Floats:
        """Return (rows,): H(q, p) given that q draws no end; nan where q draws only ends."""
        below = logits[:, self._ends] - logits.max(axis=1, keepdims=True)
        ends = figures[:, [TOP]] * np.exp(below.astype(np.float64))
        left = 1 - ends.sum(axis=1)
        # Where q draws almost only ends, this would be a difference of two nearly equal numbers.
        exact = left > HALF
        rest = figures[:, EXPECTED] - (ends * self._nats_of_ends).sum(axis=1)
        nats = rest / np.where(exact, left, 1.0)
        return nats if exact.all() else np.where(exact, nats, self._of_others(logits, tokens))

    def _of_others(self, logits: Array, tokens: NDArray[np.int64]) -> Floats:
        """Return the expected surprisal from copies of the rows without ends: exact but slow."""
        others = logits.copy()
        others[:, self._ends] = -np.inf
        only_ends = others.max(axis=1) == -np.inf
        others[only_ends] = logits[only_ends]
        nats = compare_rows(others, self, tokens)[0][:, EXPECTED]
        return np.where(only_ends, np.nan, nats)


# Dispatched like `compare_rows`, so that the entropy of an unchanged row has the same bits.
@kernel(lambda logits, model: np.asarray(model.stats[:, -1]), by_row=False)
def _entropy(logits: Array, model: ModelRows) -> Floats:
    return np.array([p.entropy for p in model.each])


@kernel(rows.compare_rows, by_row=False)
def compare_rows(logits: Array, model: ModelRows, tokens: NDArray[np.int64]) -> tuple[Floats, bool]:
    """Compute the divergence of each row from the model's.

    Args:
        logits: (rows, vocabulary), a sampler's.
        model: the model's, of the same shape.
        tokens: (rows,) the token of each row whose surprisal is wanted.

    Returns:
        (rows, figures + 1): the figures of DIVERGENCES, then the surprisal, which is nan if
        the token cannot be drawn; and True if every row is a distribution over tokens that are
        possible in the model's row. If it is false, the figures are of no use.
    """
    if not rows_are_valid(logits):
        return np.empty((len(logits), len(DIVERGENCES) + 1)), False
    qs = [Distribution(row) for row in logits]
    figures = [astuple(divergence(q, p)) for q, p in zip(qs, model.each, strict=True)]
    nats = [q.surprisal(token) for q, token in zip(qs, tokens.tolist(), strict=True)]
    surprisal = np.where(np.isinf(nats), np.nan, nats)
    table = np.column_stack([figures, surprisal])
    return table, restored(logits, model.logits) is None


@kernel(rows.moments, by_row=False)
def moments(logits: Array, temperatures: Floats) -> Floats:
    """Return `ModelRows.moments` of (rows, vocabulary) logits."""
    table = np.empty((len(logits), len(temperatures), 3))
    for row, sums in zip(logits, table, strict=True):  # each stays in the processor's cache
        p = Distribution(row)
        for i, t in enumerate(temperatures):
            weights = p.below * p.below.dtype.type(1 / t)
            np.exp(weights, out=weights)
            weights[p.top] = 0
            for power in range(3):
                sums[i, power] = weights.sum(dtype=np.float64)
                weights *= p.below  # the next power, in the same memory
    return table


def restored(logits: Array, model: Array) -> int | None:
    """Return the first token of any row that the sampler can draw and the model cannot.

    Args:
        logits: (rows, vocabulary), the sampler's.
        model: the model's, of the same shape.
    """
    tokens = np.nonzero((logits > -np.inf) > (model > -np.inf))[1]
    return int(tokens[0]) if tokens.size else None
