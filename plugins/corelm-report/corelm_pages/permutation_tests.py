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

import numpy as np

from corelm.errors import ReportError
from corelm_pages.tables import PageTables
from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.figures import GENERATED, HUMAN, SURPRISAL
from corelm_report.document.lookup import against, declared_difference
from corelm_report.document.parts import KeptText
from corelm_stats.conclusions import EACH, with_holm
from corelm_stats.inference import Inference, Sample
from corelm_stats.intervals import Sums
from corelm_stats.permutations import difference_of_ratios, permutation_p_value

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
    bold = PageTables(document).clear
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
    for name in (each for each in names if each != "tokens"):  # a count, no trait of a sampler
        sums = [_sums([texts[pair] for pair in pairs], name) for texts in (first, second)]
        n = sum(a > 0 < b for a, b in zip(sums[0][1], sums[1][1], strict=True))
        units = np.array([inference.by_unit(each) for each in sums])
        units = units[:, :, units[:, 1].any(axis=0)]
        if units.shape[2] and units[:, 1].sum(axis=1).all():
            declared = declared_difference(entry, name, GENERATED)
            own = declared.value if declared and name in OF_SCORER else None
            if own is None:
                own = float(difference_of_ratios(*units.sum(axis=2)))
            yield PermutationTest(
                entry.label, other.label, name, own, n, units.shape[2],
                max(permutation_p_value(units), (declared and declared.p) or 0.0),
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


def _texts(entry: SamplerEntry) -> dict[Sample, KeptText]:
    """Return an entry's texts, by the keys that pair them."""
    written = entry.generated_texts
    if written is None or written.n != len(entry.texts):
        raise ReportError(
            f"permutation tests need every text, and the report keeps {len(entry.texts)} of "
            f'{entry.label}: make it with texts="all" (--texts all)'
        )
    return {(text.prompt, text.seed, text.sample): text for text in entry.texts}
