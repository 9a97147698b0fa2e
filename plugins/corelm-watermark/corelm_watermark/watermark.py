"""The contract of a watermark: a sampler, and the marks that a detector counts."""

import math
from abc import abstractmethod

import numpy as np

from corelm import Sampler

HEAVIEST = 10.0
"""The weight of a tournament's first layer if the last one has weight 1, as in the paper."""


class Watermark(Sampler):
    """A sampler whose marks can be found in a text.

    A subclass has a parameter `context`: the number of tokens before a token that decide its marks.
    """

    once_per_context = False
    """True if only the first token after a context is marked."""

    marks_the_start = False
    """True if tokens with fewer than `context` before them are marked, after -1 in their place."""

    score_format = ".1%"
    """The format in which a score is printed."""

    @abstractmethod
    def marks(self, grams, size):
        """Return the marks of the last token of each n-gram.

        Args:
            grams: (grams, context + 1) token ids.
            size: the number of tokens in the vocabulary.

        Returns:
            (grams, layers) booleans, or numbers for a watermark with its own `evidence`.
        """

    @abstractmethod
    def chance(self, size):
        """Return the expected mark in a text without this watermark."""

    def evidence(self, marks, size):
        """Return the score of marks, its z-score, and its p-value in other texts.

        One mark an n-gram is binomial, and the p-value is exact. Several are averaged with weights
        that fall from 10 to 1, and the p-value is the normal distribution's.
        """
        chance, (n, layers) = self.chance(size), marks.shape
        weights = np.linspace(HEAVIEST, 1, layers) if layers > 1 else np.ones(1)
        weights /= weights.sum()
        score = float((marks.mean(axis=0) * weights).sum())
        z = (score - chance) / math.sqrt(chance * (1 - chance) * (weights**2).sum() / n)
        if layers == 1:
            from scipy.special import bdtrc  # late: no sampler needs it

            return score, z, float(bdtrc(int(marks.sum()) - 1, n, chance))
        return score, z, math.erfc(z / math.sqrt(2)) / 2
