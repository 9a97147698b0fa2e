"""The contract of a watermark: a sampler, and the marks that a detector counts."""

from abc import abstractmethod

from corelm import Sampler


class Watermark(Sampler):
    """A sampler whose marks can be found in a text.

    A subclass has a parameter `context`: the number of tokens before a token that decide its marks.
    """

    once_per_context = False
    """True if only the first token after a context is marked."""

    @abstractmethod
    def marks(self, grams, size):
        """Return the marks of the last token of each n-gram.

        Args:
            grams: (grams, context + 1) token ids.
            size: the number of tokens in the vocabulary.

        Returns:
            (grams, layers) booleans.
        """

    @abstractmethod
    def chance(self, size):
        """Return the probability of a mark in a text without this watermark."""
