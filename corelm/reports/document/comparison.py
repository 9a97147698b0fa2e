"""Two reports side by side: which figures differ beyond their interval, and what else differs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from corelm.reports.document.lookup import OF_SETS, OF_TEXTS, Figure, figures, rows
from corelm.reports.metrics.intervals import independent_difference

Document = Mapping[str, Any]
SCHEMA = "corelm.reports-diff/1"
LEFT_OUT = ("created", "command", "sources", "ci", "settings_tried")
"""The parts of a header that say nothing about why figures differ."""
DRAWS = ("model", "prompts", "n", "length", "seed", "seeds", "contexts")
"""The parts of a header that decide which random numbers and contexts the samplers met."""


def comparison(before: Document, after: Document) -> dict[str, Any]:
    """Compare two reports, as a document.

    The interval of a difference is that of independent samples (Zou and Donner 2008). Reports with
    the same seed, prompts and contexts share their random numbers, so that their differences vary
    less than this interval says.

    Args:
        before, after: the documents of the reports.

    Returns:
        `schema`; `shared_draws`, True if they share all that decides the draws; `header`, the
        parts that differ; `only_before` and `only_after`, rows without a counterpart; `rows`, the
        figures of the others, each with `before`, `after`, `difference`, `ci95` and `beyond`:
        True if the interval does not include 0, None if there is no interval.
    """
    first, second = _rows(before), _rows(after)
    comparable = _comparable(before["header"], after["header"])
    return {
        "schema": SCHEMA,
        "shared_draws": all(before["header"].get(k) == after["header"].get(k) for k in DRAWS),
        "header": list(_differing(before["header"], after["header"])),
        "only_before": [name for key, (name, _) in first.items() if key not in second],
        "only_after": [name for key, (name, _) in second.items() if key not in first],
        "rows": [
            {
                "sampler": name,
                "sampler_after": second[key][0],
                "figures": list(_changes(row, second[key][1], comparable)),
            }
            for key, (name, row) in first.items()
            if key in second
        ],
    }


def beyond(compared: Document) -> list[tuple[str, Document]]:
    """Return the figures that differ beyond their interval, each with the name of its row."""
    named = ((row["sampler"], each) for row in compared["rows"] for each in row["figures"])
    return [(name, each) for name, each in named if each["beyond"]]


def same(compared: Document) -> bool:
    """Return True if no figure differs beyond its interval and no row lacks its counterpart."""
    return not (beyond(compared) or compared["only_before"] or compared["only_after"])


def _rows(document: Document) -> dict[Any, tuple[str, Document]]:
    """The rows by what identifies them: a matched one by the target, not by the value found."""
    found: dict[Any, tuple[str, Document]] = {}
    for name, row in rows(document):
        matched = row.get("matched")
        found[(matched["open"], matched["asked"]) if matched else name] = name, row
    return found


def _comparable(before: Document, after: Document) -> set[str]:
    """The figures that depend on the number or length of texts and must not be compared."""
    length = before["length"] != after["length"]
    texts = [header["n"] * len(header["prompts"]) for header in (before, after)]
    left_out = {*OF_SETS} if length or texts[0] != texts[1] else set[str]()
    return left_out | ({*OF_TEXTS} if length else set())


def _differing(before: Document, after: Document) -> Iterator[dict[str, Any]]:
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        if key not in LEFT_OUT and one != other:
            yield {"key": key, "before": one, "after": other}


def _changes(before: Document, after: Document, left_out: set[str]) -> Iterator[dict[str, Any]]:
    second = {(figure.view, figure.metric): figure for figure in figures(after)}
    for figure in figures(before):
        other = second.get((figure.view, figure.metric))
        if other is not None and figure.metric not in left_out:
            ends = independent_difference(
                other.value, other.interval, figure.value, figure.interval
            )
            yield {
                "view": figure.view,
                "metric": figure.metric,
                "before": figure.value,
                "after": other.value,
                "difference": other.value - figure.value,
                "ci95": ends,
                "beyond": _is_beyond(figure, other, ends),
            }


def _is_beyond(before: Figure, after: Figure, ends: list[float] | None) -> bool | None:
    # Builds round differently, and an interval may have no width, such as that of greedy texts.
    if math.isclose(before.value, after.value, rel_tol=1e-6, abs_tol=1e-9):
        return False
    return None if ends is None else not ends[0] <= 0 <= ends[1]
