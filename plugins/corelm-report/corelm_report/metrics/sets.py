"""Figures of sets of texts of equal size, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corelm_report.metrics.estimates import Estimate, Interval
from corelm_report.metrics.inference import Inference
from corelm_report.metrics.ngrams import Texts
from corelm_report.metrics.text_figures import loops, text_figures


@dataclass(frozen=True)
class SetFigures:
    """The figures of sets of texts of equal size.

    Attributes:
        sets: the number of sets.
        texts: the number of texts in each.
        length: the number of tokens after which a text was cut.
        figures: the figures of `text_figures`, each the mean over the sets.
        ci95: the interval of each figure.
    """

    sets: int
    texts: int
    length: int
    figures: dict[str, float | None]
    ci95: dict[str, Interval | None]


def figures_of_sets(
    texts: Texts, decode: Callable[[Sequence[int]], str], size: int, length: int
) -> SetFigures:
    """Divide texts into disjoint sets, and return the mean of each figure over the sets.

    A set consists of texts that are far apart in the given order, because neighbours are often
    about the same thing. Too few texts for a set make one smaller set.

    Args:
        texts: token ids of the texts, without tokens that a model never draws.
        decode: the function from ids to text.
        size: the number of texts in a set.
        length: the number of tokens of a text that count, from its beginning.

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
    of_texts = Inference.of_names(range(len(looping)))
    ci95["loops"] = of_texts.share((looping.tolist(), [1.0] * len(looping))).ends
    return SetFigures(count, len(sets[0]), length, means, ci95)


SETS, MOST = 16, 16_384
"""The most random subsets that represent a larger set, and the most texts in all of them."""
FEWEST = 4
"""The fewest random subsets, however large they are."""


def subsets(texts: int, size: int) -> list[NDArray[np.intp]]:
    """Return the indices of random subsets of texts, cut from random permutations.

    Figures that depend on the number of texts compare only between sets of the same size, so a
    larger set is measured by the mean over subsets of that size.

    Example:
        >>> [sorted(each.tolist()) for each in subsets(2, 2)[:2]]
        [[0, 1], [0, 1]]
        >>> len(subsets(96, 8)), len(subsets(96, 8)[0])
        (24, 8)
    """
    rng, found = np.random.default_rng(0), list[NDArray[np.intp]]()
    while len(found) < max(min(SETS, MOST // size), FEWEST):
        order = rng.permutation(texts)
        found += [order[first : first + size] for first in range(0, texts - size + 1, size)]
    return found


def of_subsets(
    values: Sequence[float | None], left_out: Sequence[Sequence[float | None]], texts: float
) -> Estimate | None:
    """Return a figure's mean over random subsets of a set of texts, with its error.

    Its variance has two parts. The texts are a sample: a subset has the jackknife variance of its
    few texts, which the mean over subsets reduces by the share of all texts in a subset (Hoeffding
    1948, A class of statistics with asymptotically normal distribution). And the subsets are a
    sample of all subsets: the variance between them, divided by their number.

    Args:
        values: the figure of each subset.
        left_out: for each subset, the figure without each of its parts.
        texts: the number of all texts divided by the size of a subset.
    """
    known = [value for value in values if value is not None]
    parts = [Inference.of_names(range(len(each))).of_left_out(0.0, each) for each in left_out]
    variances = [each.variance for each in parts]
    if not len(known) == len(values) > 1 or any(map(math.isnan, variances)):
        return None
    variance = float(np.mean(variances)) / texts + float(np.var(known, ddof=1)) / len(known)
    return Estimate(float(np.mean(known)), noise=variance)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _interval(values: Sequence[float | None]) -> Interval | None:
    """Return the interval of the mean, with the sets as units."""
    known = [value for value in values if value is not None]
    found = Inference.of_names(range(len(known))).estimate((known, [1.0] * len(known)))
    return None if found is None else found.interval()


MANY = 20
"""With at least this number of sets, their spread is more accurate than a jackknife over texts."""


def of_sets(
    whole: Inference,
    parts: Sequence[Inference],
    values: Sequence[float | None],
    left_out: Sequence[Sequence[float | None]],
) -> Estimate | None:
    """Return a figure's mean over the sets of several seeds, with the influence of each unit.

    Args:
        whole: the units of the texts of all sets.
        parts: the units of each set.
        values: the figure of each set.
        left_out: for each set, the figure without each group of its texts.
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    mean = math.fsum(known) / len(known)
    triples = zip(parts, known, left_out, strict=True)
    found = [own.of_left_out(value, without) for own, value, without in triples]
    moved = [next(iter(each.influence.values())) for each in found]
    if whole.about_prompts:
        # The prompts are the same in every set.
        [(sample, _)] = found[0].influence.items()
        return Estimate(mean, {sample: np.mean(moved, axis=0)})
    # Sets of different seeds are independent, so many sets need no approximation. With few sets,
    # the texts determine the error better, unless a set is one text.
    if len(values) > 1 and (len(values) >= MANY or any(np.isnan(each).any() for each in moved)):
        return Inference.of_names(("seed", i) for i in range(len(values))).estimate(
            (known, [1.0] * len(known))
        )
    n = sum(map(len, moved))
    # Each set has its own variance, with the degrees of freedom of its units.
    sizes = [math.sqrt(len(m) / max(len(m) - 1, 1) * max(n - 1, 1) / n) for m in moved]
    joined = np.concatenate([size * each for size, each in zip(sizes, moved, strict=True)])
    return Estimate(mean, {(whole.units, n): joined / len(known)})
