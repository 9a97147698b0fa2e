"""Paired permutation tests of the figures of texts, corrected for their number.

Data frames and CSV have them, from the texts that a report keeps. Two samplers share prompts, seeds
and random numbers, so their units are pairs: prompts if there are 8 or more, else texts. If both
had the same distribution, each pair could as well be the other way round: the p-value is the share
of such exchanges in which the mean difference is at least as large as the one found.

The report has an interval of the same difference, and bold type for it. So that these never
contradict a test, its p-value is at least the interval's, and it is significant only where the page
has bold type, which takes 32 units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from corelm.errors import ReportError
from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.figure import GENERATED, HUMAN
from corelm_report.document.lookup import against, declared_difference
from corelm_report.metrics.conclusions import EACH, with_holm
from corelm_report.metrics.inference import Inference
from corelm_report.metrics.intervals import sums_of
from corelm_report.render.tables import clear_differences

EXACT = 12
"""The most pairs for which all exchanges are tried."""
DRAWS = 9999
"""The number of random exchanges for more pairs."""
MORE, RARE = 90_000, 10
"""The number of further exchanges, and the most hits, the observed pairs included, for which they
are tried: with hundreds of tests only p-values below 1 in 10,000 survive Holm's correction."""
BLOCK = 2**22
"""The most signs in memory at a time."""
COUNTS = ("tokens",)
"""The figures of a text that don't characterise its sampler."""

Pair = tuple[str, int | None, int]


@dataclass(frozen=True)
class PermutationTest:
    """The paired permutation test of one figure of two samplers.

    Attributes:
        sampler, against: the two samplers.
        metric: the figure of a text.
        difference: the mean over the pairs of texts, the first sampler minus the other.
        n: the number of pairs of texts in which both have the figure.
        units: the number of independent units that are exchanged.
        p: the two-sided p-value.
        p_holm: the p-value with Holm's correction for all tests of the report.
        significant: True if that is at most 1 %, the part of the report's 5 % that all its tests
            have together, and the difference is bold.
    """

    sampler: str
    against: str
    metric: str
    difference: float
    n: int
    units: int
    p: float
    p_holm: float = 1.0
    significant: bool = False


def permutation_tests(document: Document) -> list[PermutationTest]:
    """Return the tests of all figures of texts, for each sampler against the one compared with.

    Raises:
        ReportError: the differences are from human text, which no report keeps, the report has not
            kept every text, or it grew until a condition held.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    if document.header.until is not None:
        raise ReportError(
            "permutation tests need a number of texts that was fixed beforehand, and this report "
            "grew until its condition held: the `p` of each difference is valid at every moment"
        )
    other = next((e for e in document.samplers if e.label == against(document)), None)
    if other is None:
        name = HUMAN if document.human else "nothing"
        raise ReportError(
            f"permutation tests need pairs of texts, and the differences are from {name}: compare "
            "with one of the samplers (--against)"
        )
    entries = [each for each in document.samplers if each is not other and each.error is None]
    clusters = document.header.cluster_of
    tests = with_holm([test for each in entries for test in _tests(each, other, clusters)])
    bold = clear_differences(document)
    places = [(test.sampler, GENERATED, test.metric) for test in tests]
    return [
        replace(test, significant=test.p_holm <= EACH and place in bold)
        for test, place in zip(tests, places, strict=True)
    ]


def _tests(
    entry: SamplerEntry, other: SamplerEntry, clusters: Mapping[str, str]
) -> Iterator[PermutationTest]:
    first, second = _figures_of_texts(entry), _figures_of_texts(other)
    pairs = [pair for pair in first if pair in second]
    samples = [(prompt, seed or 0, i) for prompt, seed, i in pairs]
    inference = Inference.of_design(samples, clusters=clusters)
    names = list(first[pairs[0]]) if pairs else []
    for name in names:
        both = [(first[pair].get(name), second[pair].get(name)) for pair in pairs]
        apart = [None if a is None or b is None else a - b for a, b in both]
        tops, counts = inference.by_unit(sums_of(apart))
        units = np.array([top for top, count in zip(tops, counts, strict=True) if count])
        if len(units) and name not in COUNTS:
            declared = declared_difference(entry, name, GENERATED)
            yield PermutationTest(
                entry.label, other.label, name, float(units.sum() / sum(counts)),
                int(sum(counts)), len(units), max(p_value(units), (declared and declared.p) or 0.0),
            )  # fmt: skip


def _figures_of_texts(entry: SamplerEntry) -> dict[Pair, dict[str, float | None]]:
    """Return the figures of an entry's texts, by the keys that pair them."""
    written = entry.generated_texts
    if written is None or written.n != len(entry.texts):
        raise ReportError(
            f"permutation tests need every text, and the report keeps {len(entry.texts)} of "
            f'{entry.label}: make it with texts="all" (--texts all)'
        )
    return {(text.prompt, text.seed, text.sample): text.figures or {} for text in entry.texts}


def p_value(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a paired permutation test.

    With up to 12 pairs it is exact; with more, it is estimated from 9,999 random exchanges and the
    observed pairs, or from 99,999 if fewer than 10 of the first ones reach the difference. It stays
    valid, because more exchanges are tried only where the first p-value is the smaller one.

    Args:
        differences: (pairs,) of the two samplers' figures, one for each independent unit.

    Source: Besag and Clifford 1991, Sequential Monte Carlo p-values,
    doi 10.1093/biomet/78.2.301.

    Example:
        >>> p_value(np.array([1.0, 2.0, 3.0])), p_value(np.zeros(5)), p_value(np.ones(64))
        (0.25, 1.0, 1e-05)
    """
    n = len(differences)
    # Sums in another order round differently.
    least = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    if n <= EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ differences) >= least))
    random = np.random.default_rng(0)
    reached = 1 + _reached(random, differences, least, DRAWS)
    if reached > RARE:
        return reached / (DRAWS + 1)
    return (reached + _reached(random, differences, least, MORE)) / (DRAWS + MORE + 1)


def _reached(
    random: np.random.Generator, differences: NDArray[np.float64], least: float, draws: int
) -> int:
    """Return how many random exchanges have a sum at least that far from 0."""
    reached, n = 0, len(differences)
    while draws:
        rows = min(draws, max(1, BLOCK // n))
        signs = 1 - 2 * random.integers(0, 2, size=(rows, n), dtype=np.int8)
        reached += int(np.sum(np.abs(signs @ differences) >= least))
        draws -= rows
    return reached
