"""The differences of the rows of a report from one of them, or from human text.

All samplers are measured on the same contexts, and their generated texts share prompts and random
numbers. So the difference of two rows varies less than either of them, and has an interval of its
own. The texts of people are other texts, whose interval is independent of those of a sampler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corelm.reports.document.lookup import GENERATED, HUMAN, MEAN, TEACHER_FORCED, figures, value
from corelm.reports.measure.on_contexts import human_recall
from corelm.reports.measure.text_set import TextSet
from corelm.reports.metrics.intervals import (
    Interval,
    best_of,
    difference_interval,
    farther_interval,
    independent_difference,
)
from corelm.reports.metrics.positions import Sums, ratio, total
from corelm.toolkit import DIVERGENCES

Document = dict[str, Any]
Record = dict[str, Any]
HUMAN_FIGURES = {(TEACHER_FORCED, "expected_surprisal"): "surprisal"}
"""The figures of a sampler that compare with a figure of people of another name."""


@dataclass(frozen=True)
class Measured:
    """The measurements of one sampler: on the contexts, and on texts of its own.

    A decoder has no record.
    """

    record: Record
    texts: TextSet

    @property
    def surprisal(self) -> Sums:
        """The sums of the surprisal of its texts, one for each unit of resampling."""
        return self.texts.by_unit(self.texts.ratios["surprisal"])


def from_row(name: str, own: Measured, other: Measured, contexts: Record | None = None) -> Document:
    """Return the differences of one sampler from another one.

    Args:
        name: the row of the other one.
        own: the measurements of the sampler.
        other: those of the other one.
        contexts: the record of the model, if people wrote the contexts.
    """
    mine, theirs = (_by_text(each.record, contexts) for each in (own, other))
    return {
        "against": name,
        TEACHER_FORCED: {
            _key(figure): _paired(total(mine[figure]), total(theirs[figure]))
            for figure in mine
            if figure in theirs  # a decoder is measured by its texts alone
        },
        GENERATED: {
            metric: _difference(value, ends)
            for metric, (value, ends) in own.texts.differences(other.texts).items()
        },
    }


def from_people(row: Record, own: Measured, people: Record, contexts: Record | None) -> Document:
    """Return the differences of one sampler from human text.

    Args:
        row: the figures of the sampler, as the report shows them.
        own: its measurements.
        people: the human row.
        contexts: the record of the model, if people wrote the contexts.
    """
    found: Document = {"against": HUMAN, TEACHER_FORCED: {}, GENERATED: {}}
    theirs = {(figure.view, figure.metric): figure for figure in figures(people)}
    for figure in figures(row):
        key = figure.view, figure.metric
        other = theirs.get((figure.view, HUMAN_FIGURES.get(key, figure.metric)))
        if other is not None:
            ends = independent_difference(
                figure.value, figure.interval, other.value, other.interval
            )
            found[figure.view][figure.metric] = _difference(figure.value - other.value, ends)
    if contexts is not None and own.record:
        found[TEACHER_FORCED] |= _on_human_contexts(own.record, contexts)
    return found


def _by_text(record: Record, contexts: Record | None) -> Record:
    """The values of each figure on the contexts, text by text."""
    if not record:
        return {}
    found = {name: record[name] for name in DIVERGENCES}
    return found if contexts is None else found | human_recall(record, contexts)


def _on_human_contexts(record: Record, contexts: Record) -> Document:
    """The differences from the model and from people at the same positions: these are paired."""
    words = [[nats for nats in text if nats is not None] for text in contexts["surprisal"]]
    return {
        _key("entropy"): _paired(total(record["entropy"]), total(contexts["entropy"])),
        "expected_surprisal": _paired(total(record["expected_surprisal"]), total(words)),
    }


def closest(rows: Mapping[str, Measured], people: Record | None) -> list[str]:
    """Return the rows whose surprisal is closest to that of people, as far as can be told.

    These are the closest one, and those that are not farther from people beyond chance: the paired
    interval of the additional distance includes 0.

    Args:
        rows: the measurements of the samplers, by row.
        people: the human row.
    """
    several = {name: row for name, row in rows.items() if len(row.texts.records) > 1}
    rows = several or rows  # one text of a decoder may be close by chance
    target = value(people, "surprisal", GENERATED)
    sums = {name: row.surprisal for name, row in rows.items()}
    means = {name: mean for name, each in sums.items() if (mean := ratio(each)) is not None}
    if target is None or not means:
        return []
    best = min(means, key=lambda name: abs(means[name] - target))
    farther = {name: farther_interval(sums[name], sums[best], target) for name in means}
    return [
        name
        for name, ends in farther.items()
        if name == best or (ends is not None and ends[0] <= 0)
    ]


def best_settings(
    rows: Mapping[str, Measured], names: Mapping[str, str], people: Record | None
) -> list[Document]:
    """Return the setting closest to people of each sampler that was tried with several.

    Args:
        rows: the measurements of the samplers, by row.
        names: the registered name of each row.
        people: the human row.
    """
    target = value(people, "surprisal", GENERATED)
    settings: dict[str, list[str]] = {}
    for row in rows:
        settings.setdefault(names[row], []).append(row)
    found = []
    for name, tried in settings.items():
        best = None
        if target is not None and len(tried) > 1:
            best = best_of([rows[row].surprisal for row in tried], target)
        if best is not None:
            found.append({
                "name": name, "tried": len(tried), "sampler": tried[best.chosen],
                "figure": "surprisal", "target": target, "corrected": best.value,
                "ci95": best.ends,
            })  # fmt: skip
    return found


def _paired(own: Sums, other: Sums) -> Document:
    first, second = ratio(own), ratio(other)
    value = None if first is None or second is None else first - second
    return _difference(value, difference_interval(own, other))


def _difference(value: float | None, ends: Interval | None) -> Document:
    return {"value": value, "ci95": ends}


def _key(name: str) -> str:
    """The name of a figure in a report."""
    return MEAN if name == "entropy" else name
