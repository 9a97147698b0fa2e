"""What a report says, in one or a few plain sentences, from its document alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corelm.report.figures import HUMAN, Row, figure, rows

LOOPING = 0.1
"""Share of texts that end in a loop from which on a sampler is said to loop; people: 0.003."""
TAIL = 1.0
"""Nats by which a sampler's tokens are less expected than the model's own, to be in the tail."""


def sentence(document: Mapping[str, Any]) -> str:
    """Which setting is nearest to human text, which ones loop, which draw from the tail."""
    named = rows(document)
    human = next((row for name, row in named if name == HUMAN), None)
    samplers = [(name, row) for name, row in named if row is not human]
    if not samplers:
        return "No sampler was measured." if not document["samplers"] else "Every sampler failed."
    parts = [_nearest(samplers, human), _looping(samplers), _straying(samplers), _failed(document)]
    return " ".join(part for part in parts if part)


def _nearest(samplers: Sequence[tuple[str, Row]], human: Row | None) -> str:
    """The sampler whose own texts are about as surprising to the model as people's."""
    wanted = human and figure(human, "surprisal", "own_texts")
    measured = [(name, found.value) for name, row in samplers if (found := _surprisal(row))]
    if not wanted or not measured:
        return ""
    off = {name: round(abs(value - wanted.value), 3) for name, value in measured}
    nearest = [(name, value) for name, value in measured if off[name] == min(off.values())]
    return (
        f"Nearest to human text {_are(nearest)} {_listed([name for name, _ in nearest])}: "
        f"{nearest[0][1]:.2f} nats of surprisal per token, people {wanted.value:.2f}."
    )


def _surprisal(row: Row) -> Any:
    return figure(row, "surprisal", "own_texts")


def _looping(samplers: Sequence[tuple[str, Row]]) -> str:
    measured = [(name, f.value) for name, row in samplers if (f := figure(row, "loops"))]
    if not measured:
        return ""
    looping = [f"{name} ({share:.0%})" for name, share in measured if share >= LOOPING]
    if not looping:
        return "None of them loops." if len(measured) > 1 else "It does not loop."
    return f"{_listed(looping)} {'end' if len(looping) > 1 else 'ends'} in loops."


def _straying(samplers: Sequence[tuple[str, Row]]) -> str:
    """Those whose tokens the model expects much less than what it would draw itself."""
    far = []
    for name, row in samplers:
        drawn = figure(row, "expected_surprisal", "same_contexts")
        own = figure(row, "model_entropy", "same_contexts")
        if drawn and own and drawn.value - own.value > TAIL:
            far.append(f"{name} ({drawn.value:.1f} nats, the model itself {own.value:.1f})")
    return f"{_listed(far)} {'draw' if len(far) > 1 else 'draws'} from the tail." if far else ""


def _failed(document: Mapping[str, Any]) -> str:
    failed = [row["sampler"] for row in document["samplers"] if row["error"]]
    return f"{_listed(failed)} failed." if failed else ""


def _are(several: Sequence[Any]) -> str:
    return "are" if len(several) > 1 else "is"


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
