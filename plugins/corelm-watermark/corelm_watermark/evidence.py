"""The statistics of a text's marks: a score, its z-score, and a p-value."""

import math

import numpy as np

HEAVIEST = 10.0
"""The weight of a tournament's first layer if the last one has weight 1, as in the paper."""


def binary_evidence(marks, chance):
    """Return the score, z-score and p-value of marks that are True by chance.

    One mark an n-gram is binomial, and the p-value is exact. Several are averaged with weights that
    fall from 10 to 1, and the p-value is the normal distribution's.

    Args:
        marks: (grams, layers) bool.
        chance: the probability of a mark.
    """
    n, layers = marks.shape
    weights = np.linspace(HEAVIEST, 1, layers) if layers > 1 else np.ones(1)
    weights /= weights.sum()
    score = float((marks.mean(axis=0) * weights).sum())
    z = (score - chance) / math.sqrt(chance * (1 - chance) * (weights**2).sum() / n)
    if layers == 1:
        from scipy.special import bdtrc  # late: no sampler needs it

        return score, z, float(bdtrc(int(marks.sum()) - 1, n, chance))
    return score, z, math.erfc(z / math.sqrt(2)) / 2


def exponential_evidence(marks):
    """Return the score, z-score and p-value of marks that are exponential by chance.

    The sum of n such marks has the Erlang distribution, so the p-value is exact.

    Args:
        marks: (grams, 1) numbers, of mean 1 by chance.
    """
    from scipy.special import gammaincc  # late: no sampler needs it

    n, total = len(marks), float(marks.sum())
    return total / n, (total - n) / math.sqrt(n), float(gammaincc(n, total))
