"""Find the effects of a sampler by calling it on rows of logits made for the purpose.

This works for any sampler, so its author need not declare what the arithmetic already shows. A
sampler that reads the context is not probed. A sampler that does not declare what it reads is
called with two contexts, to see if they matter. A sampler that reads the vocabulary is called
without one, as by `corelm.sampling_distribution`.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from corelm import Array, Context, Sampler, entropy, softmax
from corelm.errors import SamplerError, UsageError
from corelm.toolkit import apply

WIDTH = 1024
SIZES = (2, 3, 5, 10, 30, 100, 300, WIDTH)
LARGE = 2**19
"""Tokens of the rows that confirm a claim about every row: more than today's vocabularies have."""

HEAT = 2.0
TOLERANCE = 1e-5
"""By how much two probabilities may differ that rounding alone keeps apart."""


def temperature_of(sampler: Sampler) -> float | None:
    """Return the one temperature that a sampler applies to every row; None if there is none.

    Args:
        sampler: a sampler or a chain.

    Returns:
        0 for greedy, 1 where the logits stay as they are, infinity for the uniform distribution.

    Example:
        >>> import corelm
        >>> [temperature_of(corelm.sampler(name)) for name in ("greedy", "stochastic", "uniform")]
        [0.0, 1.0, inf]
        >>> temperature_of(corelm.sampler("temperature(t=0.33) | temperature(t=2)"))
        0.66
        >>> temperature_of(corelm.sampler("top_k(k=40)")) is None
        True
    """
    if any(stage.kind != "temperature" for stage in sampler.stages):
        return None
    # Unequal gaps in both directions: only a division keeps all their ratios.
    rows = np.array([[0.0, 1.0, 3.0, -2.0], [5.0, 1.0, 4.0, 4.5]])
    result = _call(sampler, rows)
    if result is None:
        return None
    if ((result > -np.inf).sum(axis=-1) == 1).all():
        return 0.0
    if not np.isfinite(result).all():
        return None
    ratios = (np.diff(result) / np.diff(rows)).ravel()  # 1 / t, between any two tokens
    if ratios[0] < 0 or not np.allclose(ratios, ratios[0], rtol=1e-6, atol=0):
        return None
    # Twelve digits, so that a note says 0.66 and not 0.6600000000000001.
    return float(f"{1 / ratios[0]:.12g}") if ratios[0] else math.inf


def leaves_one_token(sampler: Sampler) -> bool:
    """Return True if a sampler keeps only the most likely token of any row."""
    return all(_keeps_the_first_alone(sampler, rows()) for rows in BATCHES)


def _keeps_the_first_alone(sampler: Sampler, rows: Array) -> bool:
    result = _call(sampler, rows)
    if result is None:
        return False
    alone = (result > -np.inf).sum(axis=-1) == 1
    return bool((alone & (result.argmax(axis=-1) == rows.argmax(axis=-1))).all())


def flattens(sampler: Sampler) -> bool:
    """Return True if a sampler raises the entropy of some rows."""
    result = _call(sampler, _probes())
    if result is None:
        return False
    return bool((entropy(softmax(result)) > entropy(softmax(_probes())) + 1e-3).any())


def compares_probabilities(sampler: Sampler) -> bool:
    """Return True if a filter keeps less likely tokens when a temperature flattens its input."""
    cool, hot = (_call(sampler, rows) for rows in (_probes(), _probes() / np.float32(HEAT)))
    if cool is None or hot is None:
        return False
    # The least likely token that stays, by its logit before the heat.
    least = [np.where(kept > -np.inf, _probes(), np.inf).min(axis=-1) for kept in (cool, hot)]
    return bool((least[1] < least[0]).any())


def has_effect(sampler: Sampler, after: Sampler | None = None) -> bool | None:
    """Return True if a sampler changes some row, False if none, None if that cannot be known.

    Args:
        sampler: a sampler that reads the logits alone.
        after: the sampler that acts before it.
    """
    return differ(after, sampler if after is None else after | sampler)


def differ(a: Sampler | None, b: Sampler) -> bool | None:
    """Return True if two samplers differ on some row, False if on none, None if not known.

    Args:
        a: a sampler, or None for the logits as they come.
        b: a sampler.
    """
    for rows in BATCHES:
        first = rows() if a is None else _call(a, rows())
        second = _call(b, rows())
        if first is None or second is None:
            return None
        # Probabilities, not logits: a constant added to a row is no difference.
        if not np.allclose(softmax(first), softmax(second), rtol=TOLERANCE, atol=0):
            return True
    return False


def _call(sampler: Sampler, rows: Array) -> Array | None:
    """Return the logits that a sampler makes of some rows; None if it reads the past or fails."""
    declared = [stage.reads for stage in sampler.stages if stage.reads != Sampler.reads]
    if frozenset().union(*declared) - {"vocabulary"}:
        return None
    # A stage that declares nothing may read the past: two lengths show if it does.
    silent = len(declared) < len(sampler.stages)
    try:
        with np.errstate(all="ignore"):  # a warning about the probes would puzzle users
            lengths = (0, 5) if silent else (0,)
            results = [apply(sampler, rows, _past(len(rows), n)) for n in lengths]
    except (SamplerError, UsageError):
        return None
    return results[0] if np.array_equal(results[0], results[-1]) else None


def _past(rows: int, length: int) -> Context:
    """Return a context of equal tokens, all of them drawn and surprising."""
    shape = (rows, length)
    return Context(np.zeros(shape, dtype=np.int64), np.full(shape, 9.0), np.full(shape, 9.0), 0)


@cache
def _few_probes() -> Array:
    """Return (4, 64) float32: the effect of most samplers shows here, in no time."""
    i = np.arange(64, dtype=np.float32)
    return np.stack([0 * i, -0.1 * i, -i, np.where(i == 0, 3, 0 * i)])


@cache
def _probes() -> Array:
    """Return rows of many shapes, in falling order: flat, almost flat, and falling differently.

    Returns:
        (rows, WIDTH) float32, minus infinity after the tokens of a row.
    """
    rng = np.random.default_rng(1)
    flat = [np.zeros(n) for n in (*range(1, 65), 100, 128, 200, 256, 500, 512, 1000, WIDTH)]
    shaped = [row for n in SIZES for row in _shapes(n, rng)]
    rows = np.full((len(flat) + len(shaped), WIDTH), -np.inf, dtype=np.float32)
    for row, values in zip(rows, [*flat, *shaped], strict=True):
        row[: len(values)] = np.sort(values)[::-1]
    return rows


def _shapes(n: int, rng: np.random.Generator) -> list[Array]:
    i = np.arange(n)
    return [
        *(np.where(i == 0, gap, 0.0) for gap in (0.1, 0.7, 2.0, 5.0, 12.0)),
        *(np.where(i == 0, -gap, 0.0) for gap in (0.1, 0.7, 2.0, 5.0, 12.0)),
        *(-slope * i for slope in (0.01, 0.1, 0.5, 1.0, 3.0)),
        *(-exponent * np.log(i + 1) for exponent in (0.5, 1.0, 2.0)),
        *(rng.normal(0, spread, n) for spread in (0.5, 1.0, 3.0, 10.0, 40.0)),
    ]


@cache
def _large_probes() -> Array:
    """Return (3, LARGE) float32: flat, flat but for the last token, and falling steadily."""
    i = np.arange(LARGE, dtype=np.float32)
    return np.stack([0 * i, np.where(i == LARGE - 1, -5, 0 * i), -0.1 * i])


BATCHES = (_few_probes, _probes, _large_probes)
"""The cheap ones first: most claims fail there."""
