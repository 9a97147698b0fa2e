"""Probes of samplers: the effect on rows of logits alone, found by calling them."""

from __future__ import annotations

import math

import numpy as np

from corelm.context import Context
from corelm.errors import SamplerError, UsageError
from corelm.numerics.distributions import Array
from corelm.sampling import Sampler
from corelm.stages import apply


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
    result = result_on(sampler, rows)
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


def result_on(sampler: Sampler, rows: Array) -> Array | None:
    """Apply a sampler to rows of logits; return None if it reads the past or fails."""
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
