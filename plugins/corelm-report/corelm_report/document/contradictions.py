"""Faults that a JSON Schema can't express: lists of unequal length, figures outside intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corelm.runs import printable
from corelm_report.document.figure import VIEWS

ROUNDING = 1e-4
"""The relative (or below 1, absolute) distance by which rounding may put a figure outside its
interval."""


def impossible(document: Mapping[str, Any]) -> str:
    """Describe the first contradiction in a document that follows the schema; "" if there is none.

    Example:
        >>> impossible({"vocabulary": 3, "drawable": 4, "reference": None, "samplers": []})
        'drawable: expected at most the vocabulary, 3, got 4'
    """
    return next(_contradictions(document), "")


def _contradictions(document: Mapping[str, Any]) -> Iterator[str]:
    vocabulary, drawable = document["vocabulary"], document["drawable"]
    if drawable > vocabulary:
        yield f"drawable: expected at most the vocabulary, {vocabulary}, got {drawable}"
    yield from _of_lists(document)
    human = {name: document.get(name) for name in ("reference", "human_halves")}
    entries = {name: entry for name, entry in human.items() if entry}
    entries |= {f"samplers[{i}]": entry for i, entry in enumerate(document["samplers"])}
    for path, entry in entries.items():
        for view in VIEWS:
            part = entry[view] or {}
            yield from _of_intervals(f"{path}.{view}", part, part.get("ci95", {}))
            for name, summary in part.items():
                if isinstance(summary, dict) and "mean" in summary:
                    ends = {"mean": summary.get("ci95")}
                    yield from _of_intervals(f"{path}.{view}.{name}", summary, ends)
        for view in VIEWS:
            for name, difference in ((entry.get("differences") or {}).get(view) or {}).items():
                ends = {"value": difference["ci95"]}
                yield from _of_intervals(f"{path}.differences.{view}.{name}", difference, ends)


def _of_intervals(
    path: str, values: Mapping[str, Any], intervals: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a message for each interval that is reversed or does not contain its estimate."""
    for name, ends in intervals.items():
        if ends is None:
            continue
        low, high = ends
        value = values.get(name)
        where = f"{path}.{name}" if name.isidentifier() else f"{path}[{printable.shown(name)}]"
        if low > high:
            yield f"{where}: expected an interval whose low end comes first, got {low} to {high}"
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            slack = ROUNDING * max(1.0, abs(value))
            if not low - slack <= value <= high + slack:
                yield f"{where}: {value} is outside its own interval, {low} to {high}"


CURVE = ("t", "entropy", "slope", "surprisal")
"""The lists of the curve."""
LONGEST_KEY = 40
"""The longest key that an error message shows, in characters."""


def _of_lists(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message for each list that lacks numbers, and for lists of unequal length.

    Those of tokens are checked here, a hundred times as fast as a JSON Schema would.
    """
    yield from _of_lengths("curve", {key: document["curve"][key] for key in CURVE})
    for i, entry in enumerate(document["samplers"]):
        for j, text in enumerate(entry["texts"]):
            path, lists = f"samplers[{i}].texts[{j}].by_token", text.get("by_token", {})
            for name, values in lists.items():
                kind = str if name == "text" else (int, float)
                if not all(isinstance(value, kind) for value in values):
                    expected = "texts" if kind is str else "numbers"
                    yield f"{path}.{short_key(name)}: expected {expected}"
            yield from _of_lengths(path, lists)


def _of_lengths(path: str, lists: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    lengths = {key: len(values) for key, values in lists.items()}
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{length} in {short_key(key)}" for key, length in lengths.items())
        yield f"{path}: expected lists of the same length, got {sizes}"


def short_key(key: str) -> str:
    """Return a key of the schema unchanged; quote an unknown key that is long or unusual."""
    return key if key.isidentifier() and len(key) <= LONGEST_KEY else printable.shown(key)
