"""The entries of a report, from measurements: figures, differences, and the settings to prefer.

All samplers are measured on the same contexts, and their generated texts share prompts and random
numbers. So the difference of two samplers varies less than either figure, and has an interval of
its own. Human texts are independent of a sampler's texts, unless they continue the same prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corelm.runs import DIVERGENCES
from corelm_report.document.content import (
    Best,
    Difference,
    Differences,
    EntropySummary,
    Front,
    HumanContexts,
    HumanEntry,
    SamplerEntry,
    TeacherForced,
)
from corelm_report.document.figures import GENERATED, HUMAN, LIMITS, MEAN, TEACHER_FORCED
from corelm_report.document.lookup import estimate, estimates, value
from corelm_report.measure.on_contexts import TOKEN_SURPRISAL, Record
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics.intervals import (
    NORMAL,
    difference_interval,
    independent_difference,
    mean_interval,
    within,
)
from corelm_report.metrics.selection import Point, best_of, closest_set, front
from corelm_report.metrics.sums import Sums, by_position, by_unit, ratio, total

IN_BITS = ("entropy", "model_entropy", "kl_to_model", "expected_surprisal")
"""The figures that a report has in bits too."""


@dataclass(frozen=True)
class Measured:
    """The measurements of one sampler: on the contexts, and on its generated texts.

    A decoder has no record. `units` has the number of the independent unit of each context.
    """

    record: Record
    texts: TextSet
    units: Sequence[int] = ()

    @property
    def surprisal(self) -> Sums:
        """The sums of the surprisal of its texts, one for each independent unit."""
        return self.texts.by_unit(self.texts.ratios["surprisal"])


def teacher_forced(
    record: Record, human: Record | None = None, units: Sequence[int] | None = None
) -> TeacherForced:
    """Compute the figures of one sampler on all contexts.

    Means are over positions, with intervals by bootstrap over independent units. Entropies and
    surprisals are in nats; `bits` has their means in bits.

    Args:
        record: the sampler's record from `on_contexts.measure`, merged.
        human: the model's record, if the contexts are human text.
        units: the number of the independent unit of each context; by default each is one.
    """
    units = range(len(record["entropy"])) if units is None else units
    entropy = entropy_summary(record, units)
    recall = human_recall(record, human) if human else {}
    # The entropy has a summary of its own.
    columns = {name: each for name, each in _columns(record).items() if name != "entropy"} | recall
    figures = {name: _mean(values) for name, values in columns.items()}
    means = {"entropy": entropy.mean, **figures}
    return TeacherForced(
        n=sum(map(len, record["entropy"])),
        entropy=entropy,
        figures={
            # exp of the mean entropy: a few flat distributions would decide the mean of exp H.
            "effective_choices": None if entropy.mean is None else math.exp(entropy.mean),
            **figures,
        },
        bits={name: _in_bits(means[name]) for name in IN_BITS},
        ci95={
            name: within(_interval(values, units), LIMITS.get(name))
            for name, values in columns.items()
        },
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


def model_on_contexts(record: Record) -> HumanContexts:
    """Compute the surprisal of the words of human contexts, and the model's entropy there.

    Args:
        record: the model's record from `on_contexts.measure`, merged.
    """
    known = [[value for value in text if value is not None] for text in record["surprisal"]]
    units = range(len(known))
    return HumanContexts(
        n=sum(map(len, record["entropy"])),
        model_entropy=entropy_summary(record, units),
        figures={"surprisal": _mean(known)},
        ci95={"surprisal": _interval(known, units)},
        by_position=by_position({"entropy": record["entropy"]}),
    )


def entropy_summary(record: Record, units: Sequence[int]) -> EntropySummary:
    """Return the mean entropy, its interval, and percentiles over the positions."""
    values = _flat(record["entropy"])
    low, middle, high = np.percentile(values, (5, 50, 95)).tolist() if values.size else [None] * 3
    return EntropySummary(
        mean=_mean(record["entropy"]),
        ci95=_interval(record["entropy"], units),
        median=middle,
        p05=low,
        p95=high,
    )


def _flat(texts: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array([value for text in texts for value in text], dtype=np.float64)


def _mean(texts: Sequence[Sequence[float]]) -> float | None:
    values = _flat(texts)
    return float(values.mean()) if values.size else None


def _interval(texts: Sequence[Sequence[float]], units: Sequence[int]) -> list[float] | None:
    return mean_interval(*by_unit(total(texts), units))


def _in_bits(nats: float | None) -> float | None:
    return None if nats is None else nats / math.log(2)


def from_entry(
    name: str, own: Measured, other: Measured, contexts: Record | None = None
) -> Differences:
    """Return the differences of two samplers.

    Args:
        name: the entry of the second sampler.
        own: the measurements of the first sampler.
        other: the measurements of the second one, which are subtracted.
        contexts: the record of the model, if the contexts are human text.
    """
    mine, theirs = (_by_text(each.record, contexts) for each in (own, other))
    return Differences(
        against=name,
        teacher_forced={
            _key(figure): _paired(total(mine[figure]), total(theirs[figure]), own.units)
            for figure in mine
            if figure in theirs  # a decoder is measured by its texts alone
        },
        generated_texts={
            figure: Difference(value=value, ci95=ends)
            for figure, (value, ends) in own.texts.differences(other.texts).items()
        },
    )


def from_human(
    entry: SamplerEntry,
    own: Measured,
    human: HumanEntry,
    contexts: Record | None,
    continuations: TextSet | None = None,
) -> Differences:
    """Return the differences of one sampler from human text.

    On the contexts, only the expected surprisal has one, from the surprisal of human words, if the
    contexts are human text. Human text has no entropy to compare with, only the model has.

    Args:
        entry: the sampler's entry with its figures.
        own: its measurements.
        human: the human entry.
        contexts: the record of the model, if the contexts are human text.
        continuations: the human texts, if they continue the prompts of the samplers.
    """
    found = Differences(against=HUMAN)
    theirs = {each.figure: each for each in estimates(human) if each.view == GENERATED}
    # Figures of a whole set compare only at an equal number of texts.
    unequal = own.texts.figures_of_sets if own.texts.set_size != _set_size(human) else ()
    for mine in estimates(entry):
        if mine.view != GENERATED or mine.figure in unequal or mine.figure == "model_entropy":
            continue
        other = theirs.get(mine.figure)
        if other is not None:
            ends = independent_difference(mine.value, mine.interval, other.value, other.interval)
            difference = Difference(value=mine.value - other.value, ci95=ends)
            found.of(mine.view)[mine.figure] = difference
    if continuations is not None:
        paired = own.texts.differences_by_prompt(continuations).items()
        found.generated_texts |= {
            figure: Difference(value=value, ci95=ends)
            for figure, (value, ends) in paired
            if figure in found.generated_texts
        }
    if contexts is not None and own.record:
        # Both read the same human contexts here, so this difference is paired after all.
        found.teacher_forced |= _on_human_contexts(own, contexts)
    return found


def _set_size(human: HumanEntry) -> int | None:
    return human.generated_texts.set_size if human.generated_texts else None


def _by_text(record: Record, contexts: Record | None) -> Record:
    """Return the values of each figure on the contexts, text by text."""
    if not record:
        return {}
    found = _columns(record)
    return found if contexts is None else found | human_recall(record, contexts)


def _columns(record: Record) -> Record:
    """Return the values of each figure of `DIVERGENCES`, text by text, where it is defined."""
    return {
        name: [[value for value in text if value is not None] for text in record[name]]
        for name in DIVERGENCES
    }


def _on_human_contexts(own: Measured, contexts: Record) -> dict[str, Difference]:
    """Return the paired difference from human text at the positions of words with a surprisal."""
    pairs = [
        [pair for pair in zip(*texts, strict=True) if None not in pair]
        for texts in zip(own.record["expected_surprisal"], contexts["surprisal"], strict=True)
    ]
    expected, words = ([[pair[i] for pair in text] for text in pairs] for i in (0, 1))
    return {"expected_surprisal": _paired(total(expected), total(words), own.units)}


def closest(
    measured: Mapping[str, Measured],
    human: HumanEntry | None,
    continuations: TextSet | None = None,
) -> list[str]:
    """Return the samplers that may be the closest to human text by surprisal, `closest_set`.

    There is none if the error of human text is unknown.

    Args:
        measured: the measurements of the samplers, by entry.
        human: the human entry.
        continuations: the human texts, if they continue the prompts of the samplers.
    """
    # A deterministic decoder writes one text for each prompt.
    several = {name: each for name, each in measured.items() if len(each.texts.records) > 1}
    measured = several or measured  # one text of a decoder may be close by chance
    target = human and estimate(human, "surprisal", GENERATED)
    if not target or target.interval is None:
        return []
    # The standard error behind the interval, as if it were normal.
    low, high = target.interval
    error = (high - low) / 2 / NORMAL
    sums = {name: each.surprisal for name, each in measured.items()}
    paired = continuations.by_unit(continuations.ratios["surprisal"]) if continuations else None
    return closest_set(sums, target.value, error**2, paired)


def best_settings(
    measured: Mapping[str, Measured], names: Mapping[str, str], human: HumanEntry | None
) -> list[Best]:
    """Return the setting closest to human text of each sampler that was tried with several.

    Args:
        measured: the measurements of the samplers, by entry.
        names: the registered name of each sampler, by entry.
        human: the human entry.
    """
    target = value(human, "surprisal", GENERATED)
    settings: dict[str, list[str]] = {}
    for entry in measured:
        settings.setdefault(names[entry], []).append(entry)
    found = []
    for name, tried in settings.items():
        if target is None or len(tried) < 2:
            continue
        best = best_of([measured[entry].surprisal for entry in tried], target)
        if best is not None:
            found.append(
                Best(
                    name=name,
                    tried=len(tried),
                    sampler=tried[best.chosen],
                    figure="surprisal",
                    target=target,
                    corrected=best.value,
                    ci95=best.ends,
                )
            )
    return found


def _paired(own: Sums, other: Sums, units: Sequence[int]) -> Difference:
    first, second = ratio(own), ratio(other)
    value = None if first is None or second is None else first - second
    ends = difference_interval(by_unit(own, units), by_unit(other, units))
    return Difference(value=value, ci95=ends)


def _key(name: str) -> str:
    """Return the name of a figure in a report."""
    return MEAN if name == "entropy" else name


class Pair(NamedTuple):
    """Two figures of a view: one is better if it is larger, the other if it is smaller."""

    view: str
    larger: str
    smaller: str


PAIRS = (
    Pair(GENERATED, "diversity", "surprisal"),
    Pair(TEACHER_FORCED, "human_recall", "mass_kept"),
)


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
    found = []
    for pair in PAIRS:
        points = {entry.sampler: at for entry in measured if (at := _point(entry, pair))}
        best = front(points.values())
        names = [name for name, point in points.items() if point in best]
        if names:
            found.append(Front(**pair._asdict(), entries=names))
    return found


def _point(entry: SamplerEntry, pair: Pair) -> Point | None:
    x, y = (value(entry, figure, pair.view) for figure in (pair.larger, pair.smaller))
    return None if x is None or y is None else (x, y)
