"""What a report says, in a few plain sentences, from its document alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corelm.report.document.lookup import HUMAN, Row, figure, rows
from corelm.report.document.numbers import number, share

LOOPING = 0.01
"""Share of texts that end in a loop from which on a sampler is said to loop; people: 0.003."""
REPEATING = 0.1
"""Share of 4-grams that stood in the text before, from which on it repeats; people: 0.004."""
TAIL = 1.0
"""Nats by which a sampler's tokens are less expected than the model's own, to be of the tail."""

Samplers = Sequence[tuple[str, Row]]


def sentence(document: Mapping[str, Any]) -> str:
    """Which setting is nearest to human text, which repeat themselves, which draw from the tail."""
    named = rows(document)
    people = next((row for name, row in named if name == HUMAN), None)
    samplers = [(name, row) for name, row in named if row is not people]
    if not samplers:
        return "Every sampler failed." if document["samplers"] else "No sampler was measured."
    parts = (
        _nearest(samplers, people),
        _repeating(samplers),
        _looping(samplers),
        _straying(samplers),
        _failed(document),
    )
    return " ".join(filter(None, parts))


def _nearest(samplers: Samplers, people: Row | None) -> str:
    """The sampler whose own texts are about as surprising to the model as people's."""
    wanted = people and figure(people, "surprisal", "own_texts")
    measured = [
        (name, found.value)
        for name, row in samplers
        if (found := figure(row, "surprisal", "own_texts"))
    ]
    if not wanted or not measured:
        return ""
    off = {name: round(abs(value - wanted.value), 3) for name, value in measured}
    nearest = [(name, value) for name, value in measured if off[name] == min(off.values())]
    names = [name for name, _ in nearest]
    return (
        f"Nearest to human text {_of(names, 'is', 'are')} {_listed(names)}, with "
        f"{number(nearest[0][1])} nats of surprisal per token; people's has {number(wanted.value)}."
    )


def _repeating(samplers: Samplers) -> str:
    """Those that have much of what they write from what they wrote."""
    names = _with_share(samplers, "rep_4", REPEATING, "of 4-grams")
    return f"{_listed(names)} {_of(names, 'repeats itself', 'repeat themselves')}." if names else ""


def _looping(samplers: Samplers) -> str:
    names = _with_share(samplers, "loops", LOOPING, "of texts")
    if names is None:
        return ""
    if not names:
        return "None of them ends in a loop." if len(samplers) > 1 else "It does not end in a loop."
    return f"{_listed(names)} {_of(names, 'ends', 'end')} in loops."


def _with_share(samplers: Samplers, metric: str, least: float, of: str) -> list[str] | None:
    """The samplers with at least this share of something; None where nobody was measured."""
    measured = [(name, found.value) for name, row in samplers if (found := figure(row, metric))]
    if not measured:
        return None
    return [f"{name} ({share(value)} {of})" for name, value in measured if value >= least]


def _straying(samplers: Samplers) -> str:
    """Those whose tokens the model expects much less than what it would draw itself."""
    found = [(name, *_expected(row)) for name, row in samplers]
    far = [(name, drawn, own) for name, drawn, own in found if drawn - own > TAIL]
    if not far:
        return ""
    names = [f"{name} ({number(drawn)})" for name, drawn, _ in far]
    return (
        f"{_listed(names)} {_of(names, 'draws', 'draw')} from the tail, by the surprisal to be "
        f"expected of a token; the model itself has {number(far[0][2])}."
    )


def _expected(row: Row) -> tuple[float, float]:
    """How surprising a drawn token is to the model on average: the sampler's, the model's own."""
    drawn = figure(row, "expected_surprisal", "same_contexts")
    own = figure(row, "model_entropy", "same_contexts")
    return (drawn.value, own.value) if drawn and own else (0.0, 0.0)


def _failed(document: Mapping[str, Any]) -> str:
    failed = [row["sampler"] for row in document["samplers"] if row["error"]]
    return f"{_listed(failed)} failed." if failed else ""


def _of(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
