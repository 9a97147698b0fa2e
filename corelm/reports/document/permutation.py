"""p-values of the differences between samplers, from the texts that a report keeps.

Two samplers share prompts, seeds and random numbers, so their texts are pairs. If both had the
same distribution, each pair could as well be the other way round: the p-value is the share of such
exchanges in which the mean difference is at least as large as the one found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from corelm.errors import ReportError
from corelm.reports.document.content import Document, SamplerEntry
from corelm.reports.document.figures import HUMAN
from corelm.reports.document.lookup import against
from corelm.reports.document.parts import Json

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


def tests(document: Document) -> list[PermutationTest]:
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
    first, second = _figures(entry), _figures(other)
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


def _figures(entry: SamplerEntry) -> dict[Pair, dict[str, float | None]]:
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

    With up to 12 pairs it is exact; with more, from 9,999 random exchanges, of which the one found
    counts as one.

    Args:
        differences: (pairs,) of the two samplers' figures.

    Example:
        >>> p_value(np.array([1.0, 2.0, 3.0])), p_value(np.zeros(5))
        (0.25, 1.0)
    """
    n = len(differences)
    found = abs(differences.sum())
    tolerance = 1e-9 * np.abs(differences).sum()  # sums in another order round differently
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
