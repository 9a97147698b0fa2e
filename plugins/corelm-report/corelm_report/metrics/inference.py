"""The independent units of a report's texts: the one place that decides them.

Texts of different prompts, seeds and samples have different random numbers, so they are
independent once the prompts are chosen. With many prompts a statement is about prompts like these:
the prompts are the units, as texts of one prompt have that prompt in common. With few prompts,
which say little about others, it is about these prompts: the units are the texts, each with the
texts of the other prompts that have its seed and sample. Prompts may belong to clusters, as the
paragraphs of a document do: then the clusters are the units in the place of the prompts.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm_report.metrics import anytime
from corelm_report.metrics.estimates import LEVEL, Estimate
from corelm_report.metrics.intervals import KnownByInterval, effective_number, share_interval
from corelm_report.metrics.sums import Sums, ratio

MANY = 8
"""With at least this number of prompts, or clusters, an interval is about other prompts too."""
GROUPS = 64
"""The most parts of a set that are left out in turn."""

Sample = tuple[Hashable, int, int]
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
        found = clusters or {}
        prompts = [found.get(prompt, prompt) for prompt, _, _ in samples]
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
    def groups(self) -> NDArray[np.intp]:
        """The index of each text's part of the set: its unit, or several units."""
        return np.asarray(self.of, np.intp) % GROUPS

    @property
    def of_single_texts(self) -> bool:
        """True if each unit is one text."""
        return len(self.units) == len(self.of)

    def estimate(self, sums: Sums) -> Estimate | None:
        """Return the ratio of two sums over texts; None if the second is 0.

        Args:
            sums: (texts,) the two numbers of each text.
        """
        found = Estimate.of_ratio(self._sample, *self.by_unit(sums))
        return found and replace(found, anytime=self.anytime)

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
            known = [top / bottom for top, bottom in pairs if bottom]
            ends = anytime.share_interval(known, level)
            return KnownByInterval(ratio(sums), ends, len(self))
        # With few prompts the texts are independent, as the interval is about these prompts.
        n = effective_number(*(self.by_unit(sums) if self.about_prompts else sums))
        value = ratio(sums)
        return KnownByInterval(value, share_interval(value, n, level), len(self))

    def of_left_out(self, value: float, left_out: Sequence[float | None]) -> Estimate:
        """Return a figure of a whole set, from the set without each of `groups`."""
        known = [math.nan if each is None else each for each in left_out]
        sample = self._sample if len(known) == len(self) else (self._sample, len(known))
        return replace(Estimate.of_left_out(sample, value, known), anytime=self.anytime)

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


@dataclass(frozen=True)
class VarianceParts:
    """The variance of a figure of a text, in two parts.

    Attributes:
        between: the variance between prompts; None if there is one prompt.
        within: the variance between texts of one prompt.
    """

    between: float | None
    within: float

    def of_design(self, prompts: int, texts: int) -> float:
        """Return the variance of the mean over `prompts` prompts with `texts` texts each.

        Example:
            >>> VarianceParts(4.0, 16.0).of_design(8, 4)
            1.0
        """
        return (self.between or 0.0) / prompts + self.within / (prompts * texts)


def _numbered(names: Iterable[Hashable]) -> tuple[tuple[int, ...], tuple[Hashable, ...]]:
    """Return the index of each name among the distinct names, and the distinct names."""
    numbers: dict[Hashable, int] = {}
    of = tuple(numbers.setdefault(name, len(numbers)) for name in names)
    return of, tuple(numbers)
