"""Functions that move probability between tokens, as their formulas read.

Each is defined once, for arrays of any library; compiled kernels serve float32 on the processor
(`corelm/native/backend.py`).
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike

from corelm.errors import ParameterError
from corelm.native import rows
from corelm.native.backend import kernel
from corelm.numerics.arrays import array_namespace, as_floats, last_true, positions, widen
from corelm.numerics.distributions import (
    Array,
    apply_temperature,
    mask_logits,
    min_entropy,
    softmax,
    subtract_max,
)
from corelm.numerics.filters import within_nats

USUAL = 1e-30, 1e30
"""Factors between these multiply in the logits' own type."""


def surprisal_of_probability(probability: float) -> float:
    """Return -ln of one probability, in nats: infinity for 0.

    Example:
        >>> surprisal_of_probability(1.0), surprisal_of_probability(0.0)
        (0.0, inf)
    """
    return 0.0 - math.log(probability) if probability > 0 else math.inf


def _check_factor(logits: Array, factor: float, curve: float) -> None:
    if not 0 <= factor < np.inf:
        raise ParameterError(f"factor must be at least 0 and finite, not {factor!r}")
    if not 1 <= curve <= 10:
        raise ParameterError(f"curve must be at least 1 and at most 10, not {curve!r}")


def _check_shares(
    logits: Array, probability: float, threshold: float, protected: Collection[int] = ()
) -> None:
    for name, share in (("probability", probability), ("threshold", threshold)):
        if not 0 <= share <= 1:
            raise ParameterError(f"{name} must be at least 0 and at most 1, not {share!r}")


@kernel(rows.quadratic, check=_check_factor)
@np.errstate(over="ignore", under="ignore")
def quadratic(logits: Array, factor: float, curve: float) -> Array:
    """Bend the logits by a parabola, or towards a cubic.

    With d the distance of a logit from the largest, k = (3 - curve) / 2 and s = (curve - 1) / 2,
    the new logit is -k factor d^2 + s factor d^3.

    Args:
        logits: (batch, vocabulary).
        factor: at least 0.
        curve: 1 is a parabola, 3 a cubic; at most 10.

    Raises:
        ParameterError: a factor or curve outside its range, or nan.

    Source: kalomaze 2024, Quadratic sampling (smoothing factor and smoothing curve).

    Example:
        >>> quadratic(np.array([[2.0, 1.0, 0.0]]), 0.5, 1.0).tolist()
        [[0.0, -0.5, -2.0]]
    """
    xp, in_play = array_namespace(logits), logits > -np.inf
    usual = USUAL[0] < factor < USUAL[1]
    below = subtract_max(logits if usual else widen(logits))
    below = xp.where(in_play, below, 0.0)  # 0 * inf would be nan
    # factor d^2 is taken out of both terms, so that a parabola costs nothing for the cubic.
    bent = -factor * below * below
    if curve > 1:
        bent = bent * ((3 - curve) / 2 - (curve - 1) / 2 * below)
    return mask_logits(xp.astype(subtract_max(bent), logits.dtype), in_play)


@kernel(rows.xtc, check=_check_shares, by_row=False)
@np.errstate(over="ignore")
def xtc(
    logits: Array, probability: float, threshold: float, protected: Collection[int] = ()
) -> Array:
    """Exclude top choices: mix each row with a copy that lacks all good tokens but the last one.

    The result has log-probabilities, except in rows with nothing to drop.

    Good tokens have at least the threshold's probability. Let m be the mass of the tokens
    that the copy keeps. In the mixture a token that the copy lacks has (1 - probability) times its
    probability, every other one (probability / m + 1 - probability) times.

    Args:
        logits: (batch, vocabulary).
        probability: of the copy in the mixture, 0 to 1.
        threshold: the least probability of a good token, 0 to 1.
        protected: ids that are never good.

    Raises:
        ParameterError: a probability or threshold outside its range, or nan.

    Source: p-e-w 2024, Exclude top choices (XTC), text-generation-webui pull request 6335.

    Example:
        >>> mixed = xtc(np.log(np.array([[0.5, 0.3, 0.2]])), 1.0, 0.25)
        >>> np.exp(mixed).round(4).tolist()
        [[0.0, 0.6, 0.4]]
    """
    xp = array_namespace(logits)
    least = min_entropy(logits)
    good = within_nats(logits, surprisal_of_probability(threshold) - least) > -np.inf
    for token in protected:
        good = good & (positions(logits) != token)
    # The last good token stays; on ties the one with the highest id.
    lowest = xp.min(xp.where(good, logits, np.inf), axis=-1, keepdims=True)
    dropped = good & ~last_true(good & (logits == lowest))
    rest = mask_logits(logits, ~dropped)
    rest_least = min_entropy(rest)
    # ln m, from the largest logits and the min-entropies before and after.
    apart = widen(xp.max(rest, axis=-1)) - widen(xp.max(logits, axis=-1))
    ln_mass = apart + rest_least - least
    cut, uncut = -surprisal_of_probability(probability), -surprisal_of_probability(1 - probability)
    # Among the kept tokens a probability is 1 / m times as large, which turns the factor of the
    # docstring into probability + m (1 - probability): no division by a mass that may be tiny.
    stays = xp.logaddexp(xp.zeros_like(ln_mass) + cut, ln_mass + uncut) - rest_least
    mixed = xp.where(
        dropped, _shifted(logits, logits, uncut - least), _shifted(logits, rest, stays)
    )
    return xp.where(xp.any(dropped, axis=-1, keepdims=True), mixed, logits)


def _shifted(logits: Array, like: Array, nats: Array) -> Array:
    """Return the logits minus the maximum of each row of `like`, plus (batch,) nats."""
    xp = array_namespace(logits)
    return logits - xp.max(like, axis=-1, keepdims=True) + xp.astype(nats, logits.dtype)[..., None]


def reweight_distribution(original_distribution: ArrayLike, temperature: float = 0.5) -> Array:
    """Reweight probabilities by a softmax temperature: the book's function, safe at its edges.

    Args:
        original_distribution: (..., vocabulary) probabilities; each row is normalised first.
        temperature: at least 0; 0 puts all on the likeliest token, 1 changes nothing.

    Returns:
        The new probabilities, same shape.

    Raises:
        ParameterError: a negative or nan temperature, or rows that are not distributions.

    Source: Chollet 2021, Deep learning with Python, second edition, section 12.1.

    Example:
        >>> reweight_distribution([0.2, 0.8], temperature=0.5).round(4).tolist()
        [0.0588, 0.9412]
    """
    p = as_floats(original_distribution)
    if not temperature >= 0:
        raise ParameterError(f"temperature must be at least 0, not {temperature!r}")
    if p.ndim == 0 or p.shape[-1] == 0 or not (p >= 0).all() or not np.isfinite(p).all():
        raise ParameterError("a distribution holds finite numbers that are at least 0")
    if not (p.sum(axis=-1) > 0).all():
        raise ParameterError("a distribution needs at least one number above 0 in each row")
    with np.errstate(divide="ignore"):
        return softmax(apply_temperature(np.log(p), float(temperature)))


@kernel(rows.peak_at)
def peak_at(logits: Array, target: Array, peak: float, sharpness: float, width: float) -> Array:
    """Return logits that peak where a token's probability is nearest to a target.

    A token of probability p gets the logit `peak - sharpness d^2 / (1 + d)` with
    d = |p - target| / width: quadratic near the target, linear far from it. A token that was
    removed has a distance too; it stays impossible.

    Args:
        logits: (batch, vocabulary).
        target: (batch,) probabilities.
        peak: the logit at the target.
        sharpness: how steeply logits fall.
        width: the scale of the distances, above 0.

    Source: MrJackSpade and ddh0 2025, llama.cpp pull request 17927.

    Example:
        >>> peak_at(np.log([[0.6, 0.3, 0.1]]), np.array([0.3]), 5, 10, 0.3).round(4).tolist()
        [[0.0, 5.0, 2.3333]]
    """
    xp = array_namespace(logits)
    distance = xp.abs(softmax(logits) - xp.astype(target, logits.dtype)[:, None]) / width
    near = peak - sharpness * distance**2 / (1 + distance)
    return mask_logits(near, logits > -np.inf)
