"""p-values of the differences of a report, corrected for their number.

The page marks the differences that are more than chance, at a false discovery rate of 5 %; their
p-values follow from their intervals. Data frames and CSV have paired permutation tests, from the
texts that a report keeps: two samplers share prompts, seeds and random numbers, so their texts are
pairs. If both had the same distribution, each pair could as well be the other way round: the
p-value is the share of such exchanges in which the mean difference is at least as large as the one
found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm.errors import ReportError
from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.figures import HUMAN, TABLES, TEACHER_FORCED, Figure
from corelm_report.document.lookup import Estimate, against, difference
from corelm_report.document.parts import Json
from corelm_report.metrics.selection import normal_score, student
from corelm_report.render.overview import columns_of

EXACT = 12
"""Pairs up to which every exchange is tried."""
DRAWS = 9999
"""Random exchanges of more pairs."""
BLOCK = 2**22
"""Signs in memory at a time, at most."""
COUNTS = ("tokens",)
"""The figures of a text that say nothing about its sampler."""

Pair = tuple[str, int | None, int]


@dataclass(frozen=True)
class PermutationTest:
    """The paired permutation test of one figure of two samplers.

    Attributes:
        sampler, against: the two samplers.
        metric: the figure of a text.
        difference: the mean over the pairs of texts, the first sampler minus the other.
        n: the number of pairs in which both texts have the figure.
        p: the two-sided p-value.
        p_holm: the p-value with Holm's correction for all tests of the report.
    """

    sampler: str
    against: str
    metric: str
    difference: float
    n: int
    p: float
    p_holm: float = 1.0

    def as_json(self) -> Json:
        """Return the fields by name."""
        return asdict(self)


def permutation_tests(document: Document) -> list[PermutationTest]:
    """Return the test of every figure of texts, for each sampler and the one compared with.

    Raises:
        ReportError: the differences are from human text, which no report keeps, or the report has
            not kept every text.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    other = next((e for e in document.samplers if e.label == against(document)), None)
    if other is None:
        name = HUMAN if document.human else "nothing"
        raise ReportError(
            f"permutation tests need pairs of texts, and the differences are from {name}: compare "
            "with one of the samplers (--against)"
        )
    entries = [each for each in document.samplers if each is not other and each.error is None]
    found = [test for each in entries for test in _tests(each, other)]
    adjusted = holm([test.p for test in found])
    return [replace(test, p_holm=p) for test, p in zip(found, adjusted, strict=True)]


def _tests(entry: SamplerEntry, other: SamplerEntry) -> Iterator[PermutationTest]:
    first, second = _figures_of_texts(entry), _figures_of_texts(other)
    pairs = [pair for pair in first if pair in second]
    names = list(first[pairs[0]]) if pairs else []
    for name in names:
        both = [(first[pair].get(name), second[pair].get(name)) for pair in pairs]
        differences = np.array([a - b for a, b in both if a is not None and b is not None])
        if len(differences) and name not in COUNTS:
            yield PermutationTest(
                entry.label, other.label, name, float(differences.mean()), len(differences),
                p_value(differences),
            )  # fmt: skip


def _figures_of_texts(entry: SamplerEntry) -> dict[Pair, dict[str, float | None]]:
    """Return the figures of every text of an entry, by what pairs it."""
    written = entry.generated_texts
    if written is None or written.n != len(entry.texts):
        raise ReportError(
            f"permutation tests need every text, and the report keeps {len(entry.texts)} of "
            f'{entry.label}: make it with texts="all" (--texts all)'
        )
    return {(text.prompt, text.seed, text.sample): text.figures or {} for text in entry.texts}


def p_value(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a paired permutation test.

    With up to 12 pairs it is exact; with more, it is from 9,999 random exchanges and the pairs as
    they are, which count as one.

    Args:
        differences: (pairs,) of the two samplers' figures.

    Example:
        >>> p_value(np.array([1.0, 2.0, 3.0])), p_value(np.zeros(5))
        (0.25, 1.0)
    """
    n = len(differences)
    found = abs(differences.sum())
    tolerance = 1e-9 * np.abs(differences).sum()  # sums in a different order round differently
    if n <= EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ differences) >= found - tolerance))
    random = np.random.default_rng(0)
    reached, left = 1, DRAWS
    while left:
        rows = min(left, max(1, BLOCK // n))
        signs = 1 - 2 * random.integers(0, 2, size=(rows, n), dtype=np.int8)
        reached += int(np.sum(np.abs(signs @ differences) >= found - tolerance))
        left -= rows
    return reached / (DRAWS + 1)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values with Holm's correction, which holds the chance of any false finding.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, largest = [1.0] * len(values), 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[at]))
        adjusted[at] = largest
    return adjusted


RATE = 0.05
"""The share of false ones among the differences that are marked, at most, on average."""


class Place(NamedTuple):
    """The place of a difference: the name of its entry, its view, its figure."""

    entry: str
    view: str
    figure: str


def clear_differences(document: Document) -> set[Place]:
    """Return the differences that are more than chance, of all that the tables of the page have."""
    return discoveries(dict(p_values(document)))


def p_values(document: Document) -> Iterator[tuple[Place, float]]:
    """Yield every difference on the page that has an interval, with its p-value."""
    columns = [column for table in TABLES for column in columns_of(table, document)]
    for entry in document.samplers:
        for column in columns:
            found = _compared(entry, column)
            if found is not None:
                place = Place(entry.label, column.view, column.looked_up)
                yield place, _p_of_interval(found, _units(document, entry, column.view))


def discoveries(chances: Mapping[Place, float]) -> set[Place]:
    """Return the places whose p-values are significant at the false discovery rate `RATE`.

    Source: Benjamini and Hochberg 1995, Controlling the false discovery rate: a practical and
    powerful approach to multiple testing, doi 10.1111/j.2517-6161.1995.tb02031.x.

    Example:
        >>> chances = {Place("a", "", str(n)): p for n, p in enumerate((0.001, 0.024, 0.04, 0.9))}
        >>> sorted(each.figure for each in discoveries(chances))
        ['0', '1']
    """
    ordered = sorted(chances.values())
    bounds = [p for n, p in enumerate(ordered, 1) if p <= RATE * n / len(ordered)]
    return {place for place, p in chances.items() if bounds and p <= bounds[-1]}


def _compared(entry: SamplerEntry, column: Figure) -> Estimate | None:
    """Return the difference in a cell, if it has an interval."""
    if entry.error or not column.compared:
        return None
    found = difference(entry, column.looked_up, column.view)
    return found if found and found.interval else None


def _units(document: Document, entry: SamplerEntry, view: str) -> int:
    """Return the number of texts behind a figure."""
    part = entry.generated_texts
    texts = document.header.contexts.texts if view == TEACHER_FORCED else part and part.n
    return texts or 0


def _p_of_interval(found: Estimate, units: int) -> float:
    """Return the two-sided p-value of a difference, from the end of its interval nearer to 0.

    It is below 5 % where the interval excludes 0. Few texts have the tails of Student's t.
    """
    value, (low, high) = found.value, found.interval or (-math.inf, math.inf)
    half = value - low if value > 0 else high - value
    if half <= 0:
        return 1.0 if value == 0 else 0.0
    freedom = max(units - 1, 1)
    z = normal_score(abs(value) / half * student(0.975, freedom), freedom)
    return math.erfc(z / math.sqrt(2))
