"""Compute the entries of a report from measurements: figures, differences, best settings.

All samplers are measured on the same contexts, and their generated texts share prompts and random
numbers. So the difference of two samplers varies less than either figure, and has an interval of
its own. Human texts are independent of a sampler's texts, unless they continue the same prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from corelm.runs import ModelRows
from corelm_report.document import lookup
from corelm_report.document.content import (
    Difference,
    Differences,
    EntropySummary,
    HumanContexts,
    HumanEntry,
    SamplerEntry,
    TeacherForced,
)
from corelm_report.document.figures import EXPECTED, GENERATED, HUMAN, MEAN, TEACHER_FORCED
from corelm_report.document.lookup import LIMITS, estimate, estimates, point, scale_of
from corelm_report.document.parts import Front
from corelm_report.measure.on_contexts import TOKEN_SURPRISAL, Record
from corelm_report.measure.text_records import by_position
from corelm_report.measure.text_set import LOOPS, TextSet
from corelm_stats.conclusions import front
from corelm_stats.estimates import Estimate, bits, of_interval
from corelm_stats.inference import Inference
from corelm_stats.intervals import KnownByInterval, Sums, total

IN_BITS = ("entropy", "model_entropy", "kl_to_model", EXPECTED)
"""The figures that a report also has in bits."""


@dataclass(frozen=True)
class Measured:
    """The measurements of one sampler: on the contexts, and on its generated texts.

    A decoder has no record on the contexts. `inference` has the units of the contexts.
    """

    record: Record
    texts: TextSet
    inference: Inference


def teacher_forced(
    record: Record, human: Record | None = None, inference: Inference | None = None
) -> TeacherForced:
    """Compute the figures of one sampler on all contexts.

    Means are over positions, with intervals over independent units. Entropies and surprisals are in
    nats; `bits` has their means in bits.

    Args:
        record: the sampler's record from `MeasureOnContexts`, merged.
        human: the model's record, if the contexts are human text.
        inference: the units of the contexts; by default each is one.
    """
    own = inference or Inference.of_names(range(len(record["entropy"])))
    entropy = entropy_summary(record, own)
    recall = human_recall(record, human) if human else {}
    # The entropy has a summary of its own.
    columns = {name: each for name, each in _columns(record).items() if name != "entropy"} | recall
    figures = {name: _mean(values) for name, values in columns.items()}
    means = {"entropy": entropy.mean, **figures}
    return TeacherForced(
        n=sum(map(len, record["entropy"])),
        entropy=entropy,
        figures={
            # exp of the mean entropy, because a few flat distributions would dominate the mean of
            # exp H.
            "effective_choices": None if entropy.mean is None else math.exp(entropy.mean),
            **figures,
        },
        bits={name: (nats := means[name]) and bits(nats) for name in IN_BITS},
        ci95={name: _interval(name, values, own) for name, values in columns.items()},
        by_position=by_position(
            {name: record[name] for name in ("entropy", "mass_kept", "model_entropy")}
        ),
    )


def human_recall(record: Record, human: Record) -> Record:
    """For each human word, return whether the sampler could draw it, and its surprisal.

    Words that the model itself cannot draw are left out. A filter that keeps a mass of 0.9 would
    keep 90 % of the human words if the model were calibrated. The source measures the trade-off of
    precision and recall by divergences; this share is corelm's own measure.

    Source: Meister et al. 2023, On the efficacy of sampling adapters, arXiv 2307.03749.
    """
    pairs = [
        [nats for nats, under_model in zip(*texts, strict=True) if under_model is not None]
        for texts in zip(record[TOKEN_SURPRISAL], human["surprisal"], strict=True)
    ]
    return {
        "human_recall": [[float(nats is not None) for nats in text] for text in pairs],
        "human_surprisal": [[nats for nats in text if nats is not None] for text in pairs],
    }


def model_on_contexts(record: Record, inference: Inference) -> HumanContexts:
    """Compute the surprisal of the words of human contexts, and the model's entropy there.

    Args:
        record: the model's record from `MeasureOnContexts`, merged.
        inference: the units of the contexts.
    """
    surprisals = [[value for value in text if value is not None] for text in record["surprisal"]]
    return HumanContexts(
        n=sum(map(len, record["entropy"])),
        model_entropy=entropy_summary(record, inference),
        figures={"surprisal": _mean(surprisals)},
        ci95={"surprisal": _interval("surprisal", surprisals, inference)},
        by_position=by_position({"entropy": record["entropy"]}),
    )


def entropy_summary(record: Record, inference: Inference) -> EntropySummary:
    """Return the mean entropy, its interval, and percentiles over the positions."""
    values = _flat(record["entropy"])
    low, middle, high = np.percentile(values, (5, 50, 95)).tolist() if values.size else [None] * 3
    return EntropySummary(
        mean=_mean(record["entropy"]),
        ci95=_interval("entropy", record["entropy"], inference),
        median=middle,
        p05=low,
        p95=high,
    )


def _flat(texts: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array([value for text in texts for value in text], dtype=np.float64)


def _mean(texts: Sequence[Sequence[float]]) -> float | None:
    values = _flat(texts)
    return float(values.mean()) if values.size else None


def _interval(
    name: str, texts: Sequence[Sequence[float]], inference: Inference
) -> list[float] | None:
    mean = inference.estimate(total(texts))
    if mean is None:
        return None
    return mean.interval(scale=scale_of(name), limits=LIMITS.get(name))


def from_entry(
    name: str, own: Measured, other: Measured, contexts: Record | None = None
) -> Differences:
    """Return the differences of one sampler from another.

    Args:
        name: the entry of the second sampler.
        own: the measurements of the sampler.
        other: the measurements to subtract.
        contexts: the record of the model, if the contexts are human text.
    """
    # Text by text; a decoder has no record on the contexts.
    mine, theirs = (
        _columns(each.record) | (human_recall(each.record, contexts) if contexts else {})
        if each.record
        else {}
        for each in (own, other)
    )
    return Differences(
        against=name,
        teacher_forced={
            MEAN if figure == "entropy" else figure: Difference.of(
                _apart(total(mine[figure]), total(theirs[figure]), own.inference)
            )
            for figure in mine
            if figure in theirs
        },
        generated_texts=own.texts.differences(other.texts),
    )


def from_human(
    entry: SamplerEntry,
    own: Measured,
    human: HumanEntry,
    contexts: Record | None,
    people: TextSet | None = None,
) -> Differences:
    """Return the differences of one sampler from human text.

    On the contexts, only the expected surprisal has a difference (from the surprisal of human
    words), and only on human text. Human text has no entropy to compare with. Texts are compared
    at the same places alone.

    Args:
        entry: the sampler's entry with its figures.
        own: its measurements.
        human: the human entry.
        contexts: the record of the model, if the contexts are human text.
        people: the human texts, if they were measured.
    """
    differences = Differences(against=HUMAN)
    # Figures of a whole set compare only at an equal number of texts.
    size = human.generated_texts.set_size if human.generated_texts else None
    unequal = own.texts.figures_of_sets if own.texts.set_size != size else ()
    for mine in estimates(entry) if human.compared else ():
        other = estimate(human, mine.figure, GENERATED)
        comparable = mine.figure not in unequal and mine.figure != "model_entropy"
        if mine.view == GENERATED and comparable and other is not None:
            differences.generated_texts[mine.figure] = _from_people(own.texts, mine, other, people)
    if contexts is not None and own.record:
        # Both have the same human contexts here, so this difference is paired.
        differences.teacher_forced[EXPECTED] = Difference.of(surprisal_excess(own, contexts))
    return differences


def _from_people(
    own: TextSet, mine: lookup.Measurement, other: lookup.Measurement, people: TextSet | None
) -> Difference:
    """Return how far a figure of the sampler's texts is from human texts', with its interval."""
    value, name = mine.value - other.value, mine.figure
    if name == LOOPS or own.is_common(name):
        return own.difference_of_shares(name, KnownByInterval(other.value, other.interval))
    if people is not None and mine.interval and other.interval:
        return replace(own.difference(people, name), value=value)
    first = own.estimate(name)
    if first is None or mine.interval is None or other.interval is None:
        return Difference(value=value, ci95=None)
    # The model's manifest has only the interval.
    second = of_interval(other.value, other.interval)
    apart = Difference.of(first - second, own.parts(name, None), second.variance)
    return replace(apart, value=value)


def _columns(record: Record) -> Record:
    """Return each figure of `ModelRows` text by text, where it is defined."""
    return {
        name: [[value for value in text if value is not None] for text in record[name]]
        for name in ModelRows.names
    }


def surprisal_excess(own: Measured, words: Record | None) -> Estimate | None:
    """Return the expected surprisal of a sampler minus that of human words, at the same positions.

    Args:
        own: the measurements of the sampler.
        words: the record of the model, if the contexts are human text; by default the surprisal of
            the model's own tokens is subtracted.
    """
    usual = own.record["model_entropy"] if words is None else words["surprisal"]
    pairs = [
        [pair for pair in zip(*texts, strict=True) if None not in pair]
        for texts in zip(own.record[EXPECTED], usual, strict=True)
    ]
    first, second = (total([[pair[i] for pair in text] for text in pairs]) for i in (0, 1))
    return _apart(first, second, own.inference)


def _apart(own: Sums, other: Sums, inference: Inference) -> Estimate | None:
    first, second = inference.estimate(own), inference.estimate(other)
    return None if first is None or second is None else first - second


PAIRS = (
    ("diversity", "surprisal", GENERATED),
    ("human_recall", "mass_kept", TEACHER_FORCED),
)
"""Two figures and their view: the larger the first and the smaller the second, the better."""


def fronts(samplers: Iterable[SamplerEntry]) -> list[Front]:
    """Return the front of each pair of figures that the entries have.

    Example:
        >>> from corelm_report.document.content import TeacherForced
        >>> entries = [
        ...     SamplerEntry(
        ...         sampler=name,
        ...         teacher_forced=TeacherForced(
        ...             figures={"human_recall": recall, "mass_kept": mass}
        ...         ),
        ...     )
        ...     for name, recall, mass in (("a", 0.9, 0.8), ("b", 0.9, 0.9), ("c", 1.0, 1.0))
        ... ]
        >>> fronts(entries)[0].entries
        ['a', 'c']
    """
    measured = list(samplers)
    rows = []
    for larger, smaller, view in PAIRS:
        points = {e.sampler: at for e in measured if (at := point(e, larger, smaller, view))}
        best = front(points.values())
        names = [name for name, at in points.items() if at in best]
        if names:
            rows.append(Front(view=view, larger=larger, smaller=smaller, entries=names))
    return rows
