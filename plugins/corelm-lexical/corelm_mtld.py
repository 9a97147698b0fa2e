"""MTLD: the measure of textual lexical diversity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from corelm_lexical_words import words

import corelm

CORELM_API_VERSION = 1
THRESHOLD = 0.72
"""The type-token ratio at which a stretch of words ends; the paper's."""


def mtld(text: Sequence[str], threshold: float = THRESHOLD) -> float | None:
    """Return the mean length of stretches whose share of different words is above a threshold.

    It is the mean of a forward and a backward pass over the text. None for a text in which no word
    repeats, in either direction.

    Example:
        >>> mtld("of the people by the people for the people".split())
        9.0
    """
    forward, backward = _factors(text, threshold), _factors(reversed(text), threshold)
    if not forward or not backward:
        return None
    return (len(text) / forward + len(text) / backward) / 2


def _factors(text: Iterable[str], threshold: float) -> float:
    """Return the number of stretches; an unfinished last one counts as a fraction."""
    whole, length, different = 0, 0, set[str]()
    for word in text:
        length += 1
        different.add(word)
        if len(different) <= threshold * length:
            whole, length, different = whole + 1, 0, set()
    rest = (1 - len(different) / length) / (1 - threshold) if length else 0.0
    return whole + rest


class Mtld(corelm.TextMetric):
    """The mean length of stretches of a text whose share of different words is above a threshold.

    Source: McCarthy and Jarvis 2010, MTLD, vocd-D, and HD-D: a validation study of sophisticated
    approaches to lexical diversity assessment, doi 10.3758/BRM.42.2.381.

    Example:
        >>> Mtld().of_text([], "of the people by the people for the people")
        9.0
    """

    threshold: float = corelm.param(THRESHOLD, "share of different words", gt=0, lt=1)

    @property
    def meaning(self) -> str:
        """The definition."""
        return f"the mean number of words until only {self.threshold:.0%} are different (MTLD)"

    def of_text(self, tokens: Sequence[int], text: str) -> float | None:
        """Return MTLD of a text; None if no word repeats."""
        return mtld(words(text), self.threshold)


@corelm.hookimpl
def corelm_metrics() -> Mapping[str, type[corelm.TextMetric]]:
    """Return the metric by name."""
    return {"mtld": Mtld}
