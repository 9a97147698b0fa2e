"""MATTR: the moving-average type-token ratio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from corelm_lexical_words import words

import corelm

CORELM_API_VERSION = 1
WINDOW = 50
"""The number of words in a window: short enough for texts of a hundred tokens."""


def mattr(text: Sequence[str], window: int = WINDOW) -> float | None:
    """Return the mean share of different words over all windows of a text.

    Unlike the plain type-token ratio it does not fall with the length of the text. None for a
    text with fewer words than the window.

    Example:
        >>> mattr(["a", "b", "a", "c"], window=3)  # the windows have 2 and 3 different words
        0.8333333333333334
    """
    if len(text) < window:
        return None
    # The window moves by one word at a time, so its words are counted only once.
    inside = Counter(text[:window])
    different = len(inside)
    for leaving, entering in zip(text, text[window:], strict=False):
        inside[entering] += 1
        inside[leaving] -= 1
        if not inside[leaving]:
            del inside[leaving]
        different += len(inside)
    return different / (window * (len(text) - window + 1))


class Mattr(corelm.TextMetric):
    """The mean share of different words over all windows of a text.

    Source: Covington and McFall 2010, Cutting the Gordian knot: the moving-average type-token
    ratio (MATTR), doi 10.1080/09296171003643098.

    Example:
        >>> Mattr(window=3).of_text([], "a b a c")
        0.8333333333333334
    """

    window: int = corelm.param(WINDOW, "words of a window", ge=1)

    @property
    def meaning(self) -> str:
        """The definition."""
        return f"the share of different words in a window of {self.window} words (MATTR)"

    def of_text(self, tokens: Sequence[int], text: str) -> float | None:
        """Return MATTR of a text; None if it has fewer words than the window."""
        return mattr(words(text), self.window)


@corelm.hookimpl
def corelm_metrics() -> Mapping[str, type[corelm.TextMetric]]:
    """Return the metric by name."""
    return {"mattr": Mattr}
