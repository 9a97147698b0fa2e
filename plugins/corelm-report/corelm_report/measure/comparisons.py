"""Comparisons among entries: the closest to human text, and the best setting of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from corelm_report.document.content import (
    Best,
    HumanEntry,
    Simultaneous,
)
from corelm_report.document.figure import GENERATED
from corelm_report.document.lookup import estimate, value
from corelm_report.measure.entries import EXPECTED, Measured, surprisal_excess
from corelm_report.measure.on_contexts import Record
from corelm_report.measure.text_set import LOOPS, SURPRISAL, TextSet
from corelm_report.metrics.conclusions import best_of, closest_set, confidence, simultaneous
from corelm_report.metrics.estimates import FEWEST, Estimate
from corelm_report.metrics.intervals import of_interval

SHARES = ("rep_4", LOOPS)
"""The shares of which the summary says that they are above a limit."""
LIMITED = (*SHARES, EXPECTED)
"""All figures of which the summary says so."""


class Closest(NamedTuple):
    """The rows that may be the closest to human text by surprisal, and their differences.

    Attributes:
        rows: the rows that contain the closest one in 99 % of all reports.
        too_few: the rows with too few independent units to decide.
        differences: the difference of every other row from human text, with simultaneous intervals.
    """

    rows: list[str]
    too_few: list[str]
    differences: list[Simultaneous]


def closest(
    measured: Mapping[str, Measured], human: HumanEntry | None, people: TextSet | None = None
) -> Closest:
    """Return the samplers that may be the closest to human text by surprisal, `closest_set`.

    There are none if the error of human text is unknown.

    Args:
        measured: the measurements of the samplers, by entry.
        human: the human entry.
        people: the human texts, if they were measured.
    """
    target = _surprisal_of(human, people)
    if target is None:
        return Closest([], [], [])
    found = {name: each.texts.estimate(SURPRISAL) for name, each in measured.items()}
    # One unit has no variance, and a few units may by chance have almost none.
    settings = {name: each for name, each in found.items() if each and (each.units or 0) >= FEWEST}
    apart = {name: each - target for name, each in settings.items()}
    # One further statement is about the model itself: `TemperatureFit.verdict`.
    ends = simultaneous(list(apart.values()), further=1)
    differences = [
        Simultaneous(sampler=name, figure=SURPRISAL, value=each.value, interval=interval)
        for (name, each), interval in zip(apart.items(), ends, strict=True)
    ]
    too_few = [name for name in measured if name not in settings]
    return Closest(closest_set(settings, target), too_few, differences)


def _surprisal_of(human: HumanEntry | None, people: TextSet | None) -> Estimate | None:
    """Return the surprisal of human text; None if its error is unknown."""
    known = human and estimate(human, SURPRISAL, GENERATED)
    if not known or known.interval is None:
        return None
    return people.estimate(SURPRISAL) if people else of_interval(known.value, known.interval)


def shares(measured: Mapping[str, Measured]) -> list[Simultaneous]:
    """Return the shares of `SHARES` with intervals whose lower ends hold for all rows at once.

    Args:
        measured: the measurements of the samplers, by entry.
    """
    level = confidence(len(LIMITED) * len(measured))
    found = []
    for name, each in measured.items():
        for figure in SHARES:
            value_ = each.texts.of_set[figure]
            if value_ is not None:
                ends = each.texts.interval(figure, level)
                if ends is None and each.texts.are_copies:
                    ends = [value_, value_]  # the sampler always writes these texts
                found.append(Simultaneous(sampler=name, figure=figure, value=value_, interval=ends))
    return found


def excess(measured: Mapping[str, Measured], words: Record | None) -> list[Simultaneous]:
    """Return the expected surprisal of each sampler, minus that of human words on the contexts.

    On contexts that are not human text, the surprisal of the model's own tokens is subtracted.

    Args:
        measured: the measurements of the samplers, by entry.
        words: the record of the model, if the contexts are human text.
    """
    level = confidence(len(LIMITED) * len(measured))
    found = []
    for name, each in measured.items():
        apart = surprisal_excess(each, words) if each.record else None
        if apart is not None:
            ends = apart.interval(level)
            found.append(
                Simultaneous(sampler=name, figure=EXPECTED, value=apart.value, interval=ends)
            )
    return found


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
        surprisals = [measured[entry].texts.estimate(SURPRISAL) for entry in tried]
        known = [each for each in surprisals if each is not None]
        best = best_of(known, target) if len(known) == len(tried) else None
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
