"""The summary of a report: a few plain sentences, made from its document alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corelm.reports.document.lookup import (
    GENERATED,
    HUMAN,
    TEACHER_FORCED,
    Row,
    difference,
    figure,
    rows,
)
from corelm.reports.document.numbers import listed, number, share

LOOPING = 0.01
"""The share of texts ending in a loop from which a sampler is reported; people's is 0.003."""
REPEATING = 0.1
"""The share of repeated 4-grams from which a sampler is reported; people's is 0.004."""
FRONT = 5
"""The number of rows of a Pareto front that are named, at most."""
TAIL = 1.0
"""Nats by which expected surprisal exceeds the model's entropy from which a sampler is reported."""

Samplers = Sequence[tuple[str, Row]]


def summary(document: Mapping[str, Any]) -> str:
    """Say which sampler is closest to human text, which repeat themselves, which stray."""
    named = rows(document)
    people = next((row for name, row in named if name == HUMAN), None)
    samplers = [(name, row) for name, row in named if row is not people]
    if not samplers:
        return "Every sampler failed." if document["samplers"] else "No sampler was measured."
    parts = (
        _closest(document, samplers, people),
        _best(document),
        _front(document),
        _repeating(samplers),
        _looping(samplers),
        _straying(samplers),
        _failed(document),
    )
    return " ".join(filter(None, parts))


def _closest(document: Mapping[str, Any], samplers: Samplers, people: Row | None) -> str:
    """Name the samplers whose texts surprise the model as much as human text does."""
    human = people and figure(people, "surprisal", GENERATED)
    named = dict(samplers)
    found = {
        name: measured.value
        for name in document.get("closest") or ()
        if name in named and (measured := figure(named[name], "surprisal", GENERATED))
    }
    if not human or not found:
        return ""
    names = list(found)
    values = listed(list(dict.fromkeys(map(number, found.values()))))
    sentence = (
        f"{listed(names)} {_singular(names, 'is', 'are')} closest to human text by surprisal: "
        f"{values} against {number(human.value)} nats per token"
    )
    if len(names) > 1:
        sentence += "; at this number of texts they cannot be told apart"
    return f"{sentence}.{_same_as_people(named, names)}"


def _best(document: Mapping[str, Any]) -> str:
    """Give the best setting of each swept sampler, with what is left of it after correction."""
    swept = {row["name"] for row in document["samplers"] if row.get("sweep")}
    sentences = []
    for best in document.get("best") or ():
        if best["name"] in swept and best["ci95"]:
            low, high = map(number, best["ci95"])
            sentences.append(
                f"Of {best['tried']} settings of {best['name']}, {best['sampler']} is closest to "
                f"human text: {number(best['corrected'])} nats, corrected for the choice (95 % "
                f"interval {low} to {high})."
            )
    return " ".join(sentences)


def _front(document: Mapping[str, Any]) -> str:
    """Name the swept rows that no other one beats in surprisal and diversity, if they are few."""
    swept = any(row.get("sweep") for row in document["samplers"])
    rows_ = [each["rows"] for each in document.get("fronts") or () if each["view"] == GENERATED]
    if not swept or not rows_ or len(rows_[0]) > FRONT:
        return ""
    return f"No other setting is both likelier and more diverse than {listed(rows_[0])}."


def _same_as_people(named: Mapping[str, Row], names: Sequence[str]) -> str:
    """Name those of the closest whose difference from human text may be chance."""
    found = {name: difference(named[name], "surprisal", GENERATED) for name in names}
    within = [
        name
        for name, each in found.items()
        if each and (ends := each.interval) and ends[0] <= 0 <= ends[1]
    ]
    if not within:
        return ""
    verb = _singular(within, "is", "are")
    subject = _singular(names, "It", "They") if within == list(names) else listed(within)
    return f" {subject} {verb} not distinguishable from human text by that figure."


def _repeating(samplers: Samplers) -> str:
    """Name the samplers that often write a phrase of four tokens again."""
    names = _with_share(samplers, "rep_4", REPEATING, "of 4-grams")
    verb = _singular(names or [], "repeats itself", "repeat themselves")
    return f"{listed(names)} {verb}." if names else ""


def _looping(samplers: Samplers) -> str:
    names = _with_share(samplers, "loops", LOOPING, "of texts")
    if names is None:
        return ""
    if not names:
        return "None of them ends in a loop." if len(samplers) > 1 else "It does not end in a loop."
    return f"{listed(names)} {_singular(names, 'ends', 'end')} in loops."


def _with_share(samplers: Samplers, metric: str, least: float, of: str) -> list[str] | None:
    """The samplers with at least this share; None if the metric was not measured at all."""
    measured = [(name, found.value) for name, row in samplers if (found := figure(row, metric))]
    if not measured:
        return None
    return [f"{name} ({share(value)} {of})" for name, value in measured if value >= least]


def _straying(samplers: Samplers) -> str:
    """Name the samplers whose tokens surprise the model much more than its own would."""
    found = [(name, *_expected(row)) for name, row in samplers]
    far = [(name, drawn, own) for name, drawn, own in found if drawn - own > TAIL]
    if not far:
        return ""
    names = [name for name, _, _ in far]
    nats = listed([number(drawn) for _, drawn, _ in far])
    return (
        f"{listed(names)} {_singular(names, 'samples', 'sample')} from the tail "
        f"(expected surprisal {nats} nats, the model's own {number(far[0][2])})."
    )


def _expected(row: Row) -> tuple[float, float]:
    """The expected surprisal of a drawn token under the model: the sampler's, the model's own."""
    drawn = figure(row, "expected_surprisal", TEACHER_FORCED)
    own = figure(row, "model_entropy", TEACHER_FORCED)
    return (drawn.value, own.value) if drawn and own else (0.0, 0.0)


def _failed(document: Mapping[str, Any]) -> str:
    failed = [row["sampler"] for row in document["samplers"] if row["error"]]
    return f"{listed(failed)} failed." if failed else ""


def _singular(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
