"""Functions that move probability between tokens, as their formulas read.

Each is defined once, for arrays of any library; compiled kernels serve float32 on the processor
(`corelm/native/backend.py`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from corelm.errors import ParameterError
from corelm.numerics.arrays import as_floats
from corelm.numerics.distributions import (
    Array,
    apply_temperature,
    softmax,
)


def surprisal_of_probability(probability: float) -> float:
    """Return -ln of one probability, in nats: infinity for 0.

    Example:
        >>> surprisal_of_probability(1.0), surprisal_of_probability(0.0)
        (0.0, inf)
    """
    return 0.0 - math.log(probability) if probability > 0 else math.inf


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
