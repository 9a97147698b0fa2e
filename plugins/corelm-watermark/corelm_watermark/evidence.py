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
        return score, z, binomial_tail(int(marks.sum()), n, chance)
    return score, z, math.erfc(z / math.sqrt(2)) / 2


def exponential_evidence(marks):
    """Return the score, z-score and p-value of marks that are exponential by chance.

    The sum of n such marks has the Erlang distribution, so the p-value is exact.

    Args:
        marks: (grams, 1) numbers, of mean 1 by chance.
    """
    n, total = len(marks), float(marks.sum())
    return total / n, (total - n) / math.sqrt(n), erlang_tail(total, n)


def erlang_tail(total, n):
    """Return the probability that n exponential numbers of mean 1 add up to at least a total.

    Example:
        >>> round(erlang_tail(2.0, 1), 6), round(erlang_tail(3.0, 2), 6)  # e^-2, and 4 e^-3
        (0.135335, 0.199148)
    """
    if total <= 0:
        return 1.0
    # Fewer than n events of a Poisson process up to `total`: terms e^-t t^k / k!, in logarithms.
    k = np.arange(1, n)
    logs = np.concatenate([[0.0], np.cumsum(math.log(total) - np.log(k))])
    largest = float(logs.max())
    return min(1.0, math.exp(largest - total + math.log(np.exp(logs - largest).sum())))


def binomial_tail(successes, n, p):
    """Return the probability of at least this number of successes in n trials.

    Example:
        >>> round(binomial_tail(2, 3, 0.25), 6)  # 3/64 of two each, and 1/64 of all three
        0.15625
    """
    if successes <= n * p:  # the other tail is smaller, and its terms don't underflow
        return 1.0 if successes <= 0 else 1 - binomial_tail(n - successes + 1, n, 1 - p)
    # In logarithms, because the binomial coefficients of long texts overflow.
    log = math.lgamma(n + 1) - math.lgamma(successes + 1) - math.lgamma(n - successes + 1)
    term = math.exp(log + successes * math.log(p) + (n - successes) * math.log1p(-p))
    total = 0.0
    for k in range(successes, n + 1):
        total += term
        term *= (n - k) / (k + 1) * p / (1 - p)
        if term < total * 1e-17:
            break
    return total
