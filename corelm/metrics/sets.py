"""Figures of many texts, measured on sets of few: what those of a report compare with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from corelm.metrics.intervals import NORMAL, Interval, share_interval
from corelm.metrics.ngrams import Texts
from corelm.metrics.texts import loops, text_figures


@dataclass(frozen=True)
class SetFigures:
    """The figures of sets of texts of equal size.

    Attributes:
        sets: how many sets there are.
        texts: of how many texts each.
        length: after how many tokens a text was cut.
        figures: those of `text_figures`, each the mean over the sets.
        ci95: the interval of each.
    """

    sets: int
    texts: int
    length: int
    figures: dict[str, float | None]
    ci95: dict[str, Interval | None]


def figures_of_sets(
    texts: Texts, decode: Callable[[Sequence[int]], str], size: int, length: int
) -> SetFigures:
    """Measure disjoint sets of texts, as many as there are, and take the mean.

    A set is made of texts that are far from each other in the order given, since neighbours are
    often about one thing. Fewer texts than make a set are one set.

    Args:
        texts: token ids, as many tokens as a model could have written.
        decode: from ids to text.
        size: texts in a set.
        length: tokens of a text that count, the first ones.

    Example:
        >>> measured = figures_of_sets([[3, 4], [3, 5], [6, 6], [7, 8]], str, size=2, length=2)
        >>> measured.sets, measured.figures["distinct_1"]
        (2, 0.875)
    """
    cut = [text[:length] for text in texts]
    count = max(len(cut) // size, 1)
    sets = [cut[first::count][:size] for first in range(count)]
    measured = [text_figures(some, [decode(text) for text in some]) for some in sets]
    columns = {name: [figures[name] for figures in measured] for name in measured[0]}
    means = {name: _mean(values) for name, values in columns.items()}
    ci95 = {name: _interval(values) for name, values in columns.items()}
    looping = loops([text for some in sets for text in some])
    ci95["loops"] = share_interval(int(looping.sum()), len(looping))
    return SetFigures(count, len(sets[0]), length, means, ci95)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _interval(values: Sequence[float | None]) -> Interval | None:
    """Of the mean, by its standard error over the sets."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    half = NORMAL * float(np.std(known, ddof=1)) / math.sqrt(len(known))
    return [float(np.mean(known)) - half, float(np.mean(known)) + half]
