"""Compare human text with human text: the least distance that can be expected.

Two samples of human text differ too. So no sampler can be expected to be closer to human text than
one half of the human texts is to the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from corelm import HumanMetric
from corelm_report.document.content import Differences, HumanEntry
from corelm_report.document.figure import HUMAN_HALVES
from corelm_report.measure.plugin_metrics import HumanTexts
from corelm_report.measure.text_records import Score, TextRecord
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics.estimates import FEWEST
from corelm_report.metrics.inference import HUMAN, Inference
from corelm_report.metrics.intervals import Band
from corelm_report.plan.plan import Plan

SEED = 0
"""The random seed of the halves."""


def halves(texts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]] | None:
    """Return the indices of two random halves, with all copies of a text in one of them.

    None if a half would have fewer than 8 different texts.

    Example:
        >>> first, second = halves([[i] for i in range(16)])
        >>> len(first), len(second), len({*first, *second})
        (8, 8, 16)
    """
    units = Inference.of_texts(map(tuple, texts))
    half = len(units) // 2
    if half < FEWEST:
        return None
    # The halves are random, because neighbouring texts are often about the same thing.
    chosen = set(np.random.default_rng(SEED).permutation(len(units))[:half].tolist())
    first = [i for i, unit in enumerate(units.of) if unit in chosen]
    second = [i for i, unit in enumerate(units.of) if unit not in chosen]
    return first, second


def human_against_human(
    plan: Plan, records: Sequence[TextRecord], scores: Sequence[Score], band: Band | None
) -> HumanEntry | None:
    """Return the entry of one half of the human texts, compared with the other half.

    Args:
        plan: the plan of the report.
        records: the human texts.
        scores: their scores under the second scorer, if there is one.
        band: the human entropy band.

    Returns:
        None if there are too few texts.
    """
    found = halves([record["tokens"] for record in records])
    if found is None:
        return None
    size = min(plan.set_size, *map(len, found))
    scorer = plan.scorer.model if plan.scorer else plan.model
    first, second = (
        TextSet(
            [records[i] for i in mine], band, plan.metrics, [scores[i] for i in mine if scores],
            HumanTexts([records[i]["text"] for i in others], scorer), size, plan.model, HUMAN,
        )
        for mine, others in (found, found[::-1])
    )  # fmt: skip
    summary = first.summary()
    summary.by_position = []
    # Metrics that compare with human text are already distances, so they have no difference.
    distances = {each.full_name for each in plan.metrics if isinstance(each.value, HumanMetric)}
    apart = {n: each for n, each in first.differences(second).items() if n not in distances}
    return HumanEntry(
        name=HUMAN_HALVES,
        description="a random half of the human texts, compared with the other half",
        generated_texts=summary,
        failed_metrics=first.failures,
        differences=Differences(against=HUMAN, generated_texts=apart),
    )
