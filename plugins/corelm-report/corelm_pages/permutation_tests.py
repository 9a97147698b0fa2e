"""Paired permutation tests of the figures of texts, corrected for their number.

Data frames and CSV have them, from the texts that a report keeps. Two samplers share prompts, seeds
and random numbers, so their units are pairs: prompts if there are 8 or more, else texts. If both
had the same distribution, each pair could as well be the other way round: the p-value is the share
of such exchanges in which the difference is at least as large as the one found.

The report has the same difference, with an interval and bold type. So a text weighs as much here as
there: as its tokens in a mean over tokens, as its bytes in one over bytes. The p-value is at least
the interval's, and a test is significant only where the page has bold type, which takes 32 units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.errors import ReportError
from corelm_pages.tables import clear_differences
from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.figure import GENERATED, HUMAN, SURPRISAL
from corelm_report.document.lookup import against, declared_difference
from corelm_report.document.texts import KeptText
from corelm_stats.conclusions import EACH, with_holm
from corelm_stats.inference import Inference, Sample
from corelm_stats.intervals import Sums

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
OF_SCORER = ("scorer_surprisal", "scorer_bits_per_byte")
"""The figures whose weights no report has; the tokens and bytes of the texts stand in for them."""
OF_TOKENS = (SURPRISAL, "model_entropy", "outside_human_band", "unknown", OF_SCORER[0])
OF_BYTES = ("bits_per_byte", OF_SCORER[1])
OF_DRAWS = ("model_calls", "tokens_read")
"""The figures that are means over tokens, bytes, and tokens with the end; others are over texts."""


@dataclass(frozen=True)
class PermutationTest:
    """The paired permutation test of one figure of two samplers.

    Attributes:
        sampler, against: the two samplers.
        metric: the figure of a text.
        difference: the first sampler's figure minus the other's, as in the report.
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
    first, second = _texts(entry), _texts(other)
    pairs = [pair for pair in first if pair in second]
    inference = Inference.of_design(pairs, clusters=clusters)
    names = (first[pairs[0]].figures or {}) if pairs else {}
    for name in (name for name in names if name not in COUNTS):
        sums = [_sums([texts[pair] for pair in pairs], name) for texts in (first, second)]
        n = sum(a > 0 < b for a, b in zip(sums[0][1], sums[1][1], strict=True))
        units = np.array([inference.by_unit(each) for each in sums])
        units = units[:, :, units[:, 1].any(axis=0)]
        if units.shape[2] and units[:, 1].sum(axis=1).all():
            declared = declared_difference(entry, name, GENERATED)
            own = declared.value if declared and name in OF_SCORER else None
            yield PermutationTest(
                entry.label, other.label, name,
                float(_apart(*units.sum(axis=2))) if own is None else own, n, units.shape[2],
                max(p_value(units), (declared and declared.p) or 0.0),
            )  # fmt: skip


def _sums(texts: Sequence[KeptText], name: str) -> Sums:
    """Return each text's figure times its weight, and the weight; both 0 without the figure."""
    values = [(text.figures or {}).get(name) for text in texts]
    weights = [
        0.0 if value is None else _weight(text, name)
        for text, value in zip(texts, values, strict=True)
    ]
    return [(v or 0.0) * w for v, w in zip(values, weights, strict=True)], weights


def _weight(text: KeptText, name: str) -> float:
    """Return the weight of a text in a mean: its tokens or bytes, or 1 in a mean over texts."""
    tokens = (text.figures or {})["tokens"] or 0.0
    if name in OF_TOKENS:
        return tokens - (text.finish_reason == "end")
    if name in OF_BYTES:
        return float(len(text.text.encode()))
    return tokens if name in OF_DRAWS else 1.0


def _apart(first: Any, second: Any) -> Any:
    """Return the difference of two figures, each given as the sum and the weights."""
    return first[0] / first[1] - second[0] / second[1]


def _texts(entry: SamplerEntry) -> dict[Sample, KeptText]:
    """Return an entry's texts, by the keys that pair them."""
    written = entry.generated_texts
    if written is None or written.n != len(entry.texts):
        raise ReportError(
            f"permutation tests need every text, and the report keeps {len(entry.texts)} of "
            f'{entry.label}: make it with texts="all" (--texts all)'
        )
    return {(text.prompt, text.seed, text.sample): text for text in entry.texts}


def p_value(units: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a paired permutation test.

    With up to 12 pairs it is exact; with more, it is estimated from 9,999 random exchanges and the
    observed pairs, or from 99,999 if fewer than 10 of the first ones reach the difference. It stays
    valid, because more exchanges are tried only where the first p-value is the smaller one.

    Args:
        units: (2, 2, pairs) of both samplers the sum and the weights of each independent unit.

    Source: Besag and Clifford 1991, Sequential Monte Carlo p-values,
    doi 10.1093/biomet/78.2.301.

    Example:
        >>> ones, tops = np.ones(3), np.array([1.0, 2.0, 3.0])
        >>> p_value(np.array([[tops, ones], [0 * ones, ones]]))
        0.25
    """
    n = units.shape[2]
    # Sums in another order round differently.
    largest = np.abs(units[:, 0]).sum() / units[:, 1].sum()
    least = abs(float(_apart(*units.sum(axis=2)))) - 1e-9 * largest
    if n <= EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(_exchanged(units, signs) >= least))
    random = np.random.default_rng(0)
    reached = 1 + _reached(random, units, least, DRAWS)
    if reached > RARE:
        return reached / (DRAWS + 1)
    return (reached + _reached(random, units, least, MORE)) / (DRAWS + MORE + 1)


def _reached(
    random: np.random.Generator, units: NDArray[np.float64], least: float, draws: int
) -> int:
    """Return how many random exchanges have a difference at least that far from 0."""
    reached, n = 0, units.shape[2]
    while draws:
        rows = min(draws, max(1, BLOCK // n))
        signs = 1 - 2 * random.integers(0, 2, size=(rows, n), dtype=np.int8)
        reached += int(np.sum(_exchanged(units, signs) >= least))
        draws -= rows
    return reached


def _exchanged(units: NDArray[np.float64], signs: NDArray[Any]) -> NDArray[np.float64]:
    """Return how far the figures are apart if the units with the sign -1 change places."""
    mean, half = units.mean(axis=0).sum(axis=1)[:, None], (units[0] - units[1]) @ signs.T / 2
    with np.errstate(divide="ignore", invalid="ignore"):  # one side may be left without a weight
        apart: NDArray[np.float64] = np.abs(_apart(mean + half, mean - half))
    return np.nan_to_num(apart, nan=np.inf)
