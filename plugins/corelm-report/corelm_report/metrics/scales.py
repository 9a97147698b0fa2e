"""Scales on which the errors of figures are more symmetric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A scale on which a figure's error is more symmetric.

    Attributes:
        to: from the figure to the scale.
        back: from the scale to the figure.
        slope: the derivative of `to` at a value of the figure.
        symmetric: True if the error needs no correction for skewness.
    """

    to: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    symmetric: bool = False


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


IDENTITY = Scale(float, float, lambda _: 1.0)
SYMMETRIC = Scale(float, float, lambda _: 1.0, symmetric=True)
"""The scale of `zipf`. In a few units the skewness of its error is mere chance: correcting for it
made intervals up to four times as wide, and no more of them contained the true value."""
LOGIT = Scale(lambda p: math.log(p / (1 - p)), _sigmoid, lambda p: 1 / (p * (1 - p)))
"""The log odds, for a share: near 0 and 1 a share varies more towards the middle."""
RECIPROCAL = Scale(lambda x: 1 / x, lambda y: 1 / y if y > 0 else math.inf, lambda x: -1 / (x * x))
"""The reciprocal, for a ratio of sizes whose denominator is a sum over texts, as in
`compression`."""


def of_difference(scale: Scale) -> Scale:
    """Return the scale of the difference of two figures."""
    return scale if scale.symmetric else IDENTITY
