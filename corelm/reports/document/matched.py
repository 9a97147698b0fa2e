"""Matched figures in words: what the open parameters of a report were chosen for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from corelm.reports.document.numbers import number, share


class Matched(NamedTuple):
    """A figure that can be matched: its name in a sentence, and its unit."""

    words: str
    unit: str


SMALL = 0.1
"""The value below which two decimals say too little."""

FIGURES = {
    "entropy": Matched("mean entropy", "nats"),
    "expected_surprisal": Matched("mean surprisal", "nats"),
    "kl_to_model": Matched("mean KL divergence from the model", "nats"),
    "jensen_shannon": Matched("mean Jensen-Shannon divergence", "nats"),
    "total_variation": Matched("mean total variation", "share"),
    "mass_kept": Matched("mean mass kept", "share"),
    "human_recall": Matched("human recall", "share"),
    "human_surprisal": Matched("human surprisal", "nats"),
    "tokens_kept": Matched("mean number of tokens kept", "tokens"),
    "top_probability": Matched("mean top-1 probability", "share"),
    "varentropy": Matched("mean varentropy", "nats squared"),
}
"""The figures on the same contexts that follow from the sampler, by their keys."""


def in_words(figure: str, value: float) -> str:
    """Say which value of a figure is meant.

    Example:
        >>> in_words("entropy", 3.0), in_words("mass_kept", 0.9)
        ('a mean entropy of 3.00 nats', 'a mean mass kept of 90.0%')
    """
    words, unit = FIGURES.get(figure, Matched(figure, ""))
    return f"a {words} of {_text(value, unit)}{f' {unit}' if unit.startswith('nats') else ''}"


def in_short(row: Mapping[str, Any]) -> str:
    """Return the target of a row for a cell of a table; empty if it was not matched.

    Example:
        >>> in_short({"matched": {"figure": "human_recall", "target": 0.95}})
        'human recall 95.0%'
    """
    found = row.get("matched")
    if not found:
        return ""
    words = found["figure"].removeprefix("expected_").replace("_", " ")
    unit = FIGURES.get(found["figure"], Matched("", "")).unit
    return f"{words} {_text(found['target'], unit)}"


def _text(value: float, unit: str) -> str:
    if unit == "share":
        return share(value)
    return number(value) if value == 0 or value >= SMALL else f"{value:.3g}"
