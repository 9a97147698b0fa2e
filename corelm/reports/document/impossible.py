"""Values that follow the schema of a report one by one, and cannot be true together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from corelm.toolkit import shown

ROUNDING = 1e-4
"""The share of a figure, or of 1, that rounding may put it outside its interval."""


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
    entries = {"reference": document["reference"]} if document["reference"] else {}
    entries |= {f"samplers[{i}]": entry for i, entry in enumerate(document["samplers"])}
    for path, entry in entries.items():
        for view in ("teacher_forced", "generated_texts"):
            part = entry[view] or {}
            yield from _of_intervals(f"{path}.{view}", part, part.get("ci95", {}))
            for name, summary in part.items():
                if isinstance(summary, dict) and "mean" in summary:
                    ends = {"mean": summary.get("ci95")}
                    yield from _of_intervals(f"{path}.{view}.{name}", summary, ends)
        for view in ("teacher_forced", "generated_texts"):
            for name, found in ((entry.get("differences") or {}).get(view) or {}).items():
                ends = {"value": found["ci95"]}
                yield from _of_intervals(f"{path}.differences.{view}.{name}", found, ends)


def _of_intervals(
    path: str, values: Mapping[str, Any], intervals: Mapping[str, Any]
) -> Iterator[str]:
    """Yield each interval that is upside down or does not hold its estimate."""
    for name, ends in intervals.items():
        if ends is None:
            continue
        low, high = ends
        value = values.get(name)
        where = f"{path}.{name}" if name.isidentifier() else f"{path}[{shown(name)}]"
        if low > high:
            yield f"{where}: expected an interval whose low end comes first, got {low} to {high}"
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            slack = ROUNDING * max(1.0, abs(value))
            if not low - slack <= value <= high + slack:
                yield f"{where}: {value} is outside its own interval, {low} to {high}"
