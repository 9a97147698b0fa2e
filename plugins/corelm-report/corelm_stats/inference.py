"""The independent units of a report's texts: the one place that decides them.

Texts of different prompts, seeds and samples have different random numbers, so they are
independent once the prompts are chosen. With many prompts a statement is about prompts like these:
the prompts are the units, as texts of one prompt have that prompt in common. With few prompts,
which say little about others, it is about these prompts: the units are the texts, each with the
texts of the other prompts that have its seed and sample. Prompts may belong to clusters, as the
paragraphs of a document do: then the clusters are the units in the place of the prompts.

Figures of whole sets of texts follow: of several sets, and of random subsets of a larger one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm_stats.estimates import FEWEST, MANY, Estimate, effective_number
from corelm_stats.intervals import (
    LEVEL,
    Interval,
    KnownByInterval,
    Sums,
    bisected,
    ratio,
    share_interval,
)
from corelm_stats.study_design import VarianceParts

GROUPS = 64
"""The most parts of a set that are left out in turn."""

Sample = tuple[Hashable, int | None, int]
"""The prompt, the seed and the sample of a text."""
GENERATED, HUMAN = "generated", "human"
"""The sources of texts; texts of different sources are independent unless prompts pair them."""


@dataclass(frozen=True)
class Inference:
    """The independent units of texts, on which every statement about the texts is based.

    Attributes:
        of: the index of the unit of each text.
        units: the name of each unit; texts of two samplers whose units have the same names are
            paired.
        prompts: the index of the prompt of each text, or of its cluster if prompts have some.
        about_prompts: True if the units are prompts or clusters of them, so that statements are
            about others like these; False if they are about these prompts.

    Example:
        >>> texts = Inference.of_design([("a prompt", 1, i) for i in range(9)])
        >>> mean = texts.estimate(([1.0, 2.0, 3.0] * 3, [1] * 9))
        >>> texts.about_prompts, mean.value, mean.units
        (False, 2.0, 9)
    """

    of: tuple[int, ...]
    units: tuple[Hashable, ...]
    prompts: tuple[int, ...] = ()
    about_prompts: bool = False
    anytime: bool = False

    @classmethod
    def of_design(
        cls,
        samples: Sequence[Sample],
        source: str = GENERATED,
        clusters: Mapping[Any, Hashable] | None = None,
        anytime: bool = False,
    ) -> Inference:
        """Return the units of texts: their prompts, if there are many, or the prompts' clusters.

        Source: Miller 2024, Adding error bars to evals, arXiv 2411.00640 (questions as clusters).

        Args:
            samples: the prompt, seed and sample of each text.
            source: `GENERATED` or `HUMAN`.
            clusters: the cluster of each prompt, such as its document; by default each is its own.
            anytime: intervals hold at every moment, however often one looks.

        Example:
            >>> designs = [[(p, 1, i) for p in range(n) for i in range(2)] for n in (2, 8)]
            >>> [list(Inference.of_design(each).of) for each in designs]
            [[0, 1, 0, 1], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]]
            >>> pages = [(p, 1, 0) for p in range(16)]
            >>> len(Inference.of_design(pages, clusters={p: p // 2 for p in range(16)}))
            8
        """
        cluster_of = clusters or {}
        prompts = [cluster_of.get(prompt, prompt) for prompt, _, _ in samples]
        many = len(set(prompts)) >= MANY
        names = prompts if many else [(source, seed, sample) for _, seed, sample in samples]
        units = cls.of_names(names, prompts)
        return replace(units, about_prompts=many, anytime=anytime)

    @classmethod
    def of_names(
        cls, names: Iterable[Hashable], prompts: Iterable[Hashable] | None = None
    ) -> Inference:
        """Return the units of texts from the name of each text's unit."""
        of, units = _numbered(names)
        return cls(of, units, _numbered(prompts)[0] if prompts is not None else of)

    @classmethod
    def of_texts(cls, texts: Iterable[Hashable], source: str = HUMAN) -> Inference:
        """Return the units of texts without prompts: a text that occurs twice is one unit.

        Example:
            >>> Inference.of_texts(["a", "b", "a"]).of
            (0, 1, 0)
        """
        return cls.of_names([(source, text) for text in texts])

    def __len__(self) -> int:
        return len(self.units)

    @cached_property
    def _sample(self) -> Hashable:
        # A short name, as every difference compares the units of two estimates.
        return hash(self.units), len(self.units)

    @cached_property
    def groups(self) -> NDArray[np.intp] | None:
        """The index of each text's part of the set: its unit, or several; None for single texts."""
        alone = len(self.units) == len(self.of)
        return None if alone else np.asarray(self.of, np.intp) % GROUPS

    def estimate(self, sums: Sums) -> Estimate | None:
        """Return the ratio of two sums over texts; None if the second is 0.

        Args:
            sums: (texts,) the two numbers of each text.
        """
        figure = Estimate.of_ratio(self._sample, *self.by_unit(sums))
        return figure and replace(figure, anytime=self.anytime)

    def share(self, sums: Sums, level: float = 1 - LEVEL) -> KnownByInterval:
        """Return a share of texts with its score interval, which has a width even at 0 and at 1.

        Args:
            sums: (texts,) 1 if a text has the property, and 1 if it can have it.
            level: the probability that the interval holds the truth.

        Example:
            >>> texts = Inference.of_names(range(64))
            >>> [round(end, 3) for end in texts.share(([0.0] * 64, [1.0] * 64)).ends]
            [0.0, 0.057]
        """
        if self.anytime:
            pairs = zip(*self.by_unit(sums), strict=True)
            shares = [top / bottom for top, bottom in pairs if bottom]
            ends = anytime_share_interval(shares, level)
            return KnownByInterval(ratio(sums), ends, len(self))
        # With few prompts the texts are independent, as the interval is about these prompts.
        n = effective_number(*(self.by_unit(sums) if self.about_prompts else sums))
        value = ratio(sums)
        return KnownByInterval(value, share_interval(value, n, level), len(self))

    def common_share(self, sums: Sums, level: float = 1 - LEVEL) -> Interval | None:
        """Return the interval of a mean share that all units have, or nearly all.

        As many of other units as the interval of a share allows may have any share at all.

        Example:
            >>> texts = Inference.of_names(range(64))
            >>> [round(end, 3) for end in texts.common_share(([0.5] * 64, [1.0] * 64))]
            [0.472, 0.528]
        """
        shares = [round(top / n, 9) for top, n in zip(*self.by_unit(sums), strict=True) if n]
        if len(shares) < FEWEST:
            return None
        usual = max(shares, key=shares.count)
        alone = replace(Inference.of_names(range(len(shares))), anytime=self.anytime)
        differ = [float(share != usual) for share in shares], [1.0] * len(shares)
        most = (alone.share(differ, level).ends or [0.0, 1.0])[1]
        low, mean = (1 - most) * usual, ratio(sums) or 0.0
        return [min(low, mean), max(low + most, mean)]

    def of_left_out(self, value: float, left_out: Sequence[float | None]) -> Estimate:
        """Return a figure of a whole set, from the set without each of `groups`."""
        values = [math.nan if each is None else each for each in left_out]
        sample = self._sample if len(values) == len(self) else (self._sample, len(values))
        return replace(Estimate.of_left_out(sample, value, values), anytime=self.anytime)

    def by_unit(self, sums: Sums) -> Sums:
        """Add up the texts' sums by unit.

        Example:
            >>> Inference.of_names("aba").by_unit(([1.0, 2.0, 4.0], [1, 1, 1]))
            ([5.0, 2.0], [2.0, 1.0])
        """
        numbers = np.asarray(self.of, np.intp)
        tops, bottoms = (
            np.bincount(numbers, np.asarray(each, np.float64), minlength=len(self)) for each in sums
        )
        return tops.tolist(), bottoms.tolist()

    def parts(self, sums: Sums) -> VarianceParts | None:
        """Return the variance of a ratio of sums between the prompts, and within them.

        None unless some prompts have several texts.

        Source: Cochran 1977, Sampling techniques, chapter 10 (subsampling with units of equal
        size).
        """
        tops, bottoms = (np.asarray(each, np.float64) for each in sums)
        n, bottom = len(tops), bottoms.sum()
        numbers = np.asarray(self.prompts, np.intp)
        sizes = np.bincount(numbers) if n else np.zeros(0)
        groups = len(sizes)
        if not bottom or n <= groups or groups == 0:
            return None
        # Each text's deviation from the figure, in the unit of the figure.
        values = (tops - tops.sum() / bottom * bottoms) * n / bottom
        means = np.bincount(numbers, values) / sizes
        within = float(np.sum((values - means[numbers]) ** 2)) / (n - groups)
        if groups < 2:
            return VarianceParts(None, within)
        each = (n - float(np.sum(sizes**2)) / n) / (groups - 1)
        of_means = float(np.sum(sizes * (means - values.mean()) ** 2)) / (groups - 1)
        return VarianceParts(max((of_means - within) / each, 0.0), within)


def paired_sums(own: Sums, other: Sums) -> Sums:
    """Return the sums of paired differences of a mean over texts; empty without a mean."""
    (tops, bottoms), (others, below) = own, other
    if not sum(bottoms) or not sum(below):
        return [], []
    n, first, second = len(tops), sum(bottoms), sum(below)
    means = sum(tops) / first, sum(others) / second
    pairs = zip(tops, bottoms, others, below, strict=True)
    # Each text's deviation from the mean, to first order.
    moved = [n * ((a - means[0] * b) / first - (c - means[1] * d) / second) for a, b, c, d in pairs]
    return moved, [1.0] * n


def _numbered(names: Iterable[Hashable]) -> tuple[tuple[int, ...], tuple[Hashable, ...]]:
    """Return the index of each name among the distinct names, and the distinct names."""
    numbers: dict[Hashable, int] = {}
    of = tuple(numbers.setdefault(name, len(numbers)) for name in names)
    return of, tuple(numbers)


SETS, MOST = 16, 16_384
"""The most random subsets that represent a larger set, and the most texts in all of them."""
LEAST_SETS = 4
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
    rng, cuts = np.random.default_rng(0), list[NDArray[np.intp]]()
    while len(cuts) < max(min(SETS, MOST // size), LEAST_SETS):
        order = rng.permutation(texts)
        cuts += [order[first : first + size] for first in range(0, texts - size + 1, size)]
    return cuts


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
    defined = [value for value in values if value is not None]
    parts = [Inference.of_names(range(len(each))).of_left_out(0.0, each) for each in left_out]
    variances = [each.variance for each in parts]
    if not len(defined) == len(values) > 1 or any(map(math.isnan, variances)):
        return None
    variance = float(np.mean(variances)) / texts + float(np.var(defined, ddof=1)) / len(defined)
    return Estimate(float(np.mean(defined)), noise=variance)


MANY_SETS = 20
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
    defined = [value for value in values if value is not None]
    if len(defined) < len(values) or not defined:
        return None
    mean = math.fsum(defined) / len(defined)
    triples = zip(parts, defined, left_out, strict=True)
    estimates = [own.of_left_out(value, without) for own, value, without in triples]
    moved = [next(iter(each.influence.values())) for each in estimates]
    if whole.about_prompts:
        # The prompts are the same in every set.
        [(sample, _)] = estimates[0].influence.items()
        return Estimate(mean, {sample: np.mean(moved, axis=0)})
    # Sets of different seeds are independent, so many sets need no approximation. With few sets,
    # the texts determine the error better, unless a set is one text.
    if len(values) > 1 and (
        len(values) >= MANY_SETS or any(np.isnan(each).any() for each in moved)
    ):
        return Inference.of_names(("seed", i) for i in range(len(values))).estimate(
            (defined, [1.0] * len(defined))
        )
    n = sum(map(len, moved))
    # Each set has its own variance, with the degrees of freedom of its units.
    sizes = [math.sqrt(len(m) / max(len(m) - 1, 1) * max(n - 1, 1) / n) for m in moved]
    joined = np.concatenate([size * each for size, each in zip(sizes, moved, strict=True)])
    return Estimate(mean, {(whole.units, n): joined / len(defined)})


def anytime_share_interval(values: Sequence[float], level: float = 1 - LEVEL) -> list[float]:
    """Return the interval of the mean of values between 0 and 1, for any number of them.

    Not asymptotic: it is valid for every distribution of the values. It mixes Bernoulli likelihoods
    over a uniform prior, which is valid for all variables between 0 and 1.

    Args:
        values: one for each independent unit.
        level: the chance that all intervals contain the true value.

    Source: Howard, Ramdas, McAuliffe and Sekhon 2021, Time-uniform, nonparametric, nonasymptotic
    confidence sequences, doi 10.1214/20-AOS1991 (the beta-binomial mixture).

    Example:
        >>> [round(end, 3) for end in anytime_share_interval([0.0] * 64)]
        [0.0, 0.106]
    """
    n, hits = len(values), math.fsum(values)
    if n == 0:
        return [0.0, 1.0]
    mixture = math.lgamma(hits + 1) + math.lgamma(n - hits + 1) - math.lgamma(n + 2)

    def excluded(p: float) -> bool:
        likelihood = _log_power(hits, p) + _log_power(n - hits, 1 - p)
        return mixture - likelihood >= -math.log(1 - level)

    ends = (0.0, 1.0)
    return [bisected(hits / n, end, excluded)[0] if excluded(end) else end for end in ends]


def _log_power(count: float, p: float) -> float:
    """Return ln(p ** count), which is 0 for a count of 0."""
    if count == 0:
        return 0.0
    return count * math.log(p) if p > 0 else -math.inf
