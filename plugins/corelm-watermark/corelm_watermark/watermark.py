"""The contract of a watermark: a sampler, and the marks that a detector counts."""

from abc import abstractmethod

from corelm import Sampler
from corelm_watermark.evidence import binary_evidence


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
        """Return the score of marks, its z-score, and its p-value in other texts."""
        return binary_evidence(marks, self.chance(size))
