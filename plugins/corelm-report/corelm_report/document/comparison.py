"""Compare two reports: the figures that differ beyond their intervals, and other differences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from corelm_report.document.content import Document, Entry
from corelm_report.document.lookup import OF_SETS, OF_TEXTS, Measurement, estimates
from corelm_report.document.parts import Header, Json
from corelm_stats.intervals import KnownByInterval

SIDES = ("before", "after")
SCHEMA = "corelm_report-diff/1"
LEFT_OUT = ("created", "command", "sources", "ci", "settings_tried")
"""The parts of a header that don't explain differences of figures."""
DRAWS = ("model", "prompts", "n", "length", "seed", "seeds", "settings", "contexts")
"""The parts of a header that decide the random numbers and contexts of the samplers."""


def comparison(before: Document, after: Document) -> Json:
    """Compare two reports; return the comparison as a JSON object.

    The interval of a difference is for independent samples (Zou and Donner 2008). Reports with
    the same seed, prompts and contexts share their random numbers, so that their differences vary
    less than this interval says.

    Args:
        before, after: the documents of the reports.

    Returns:
        `schema`; `shared_draws`, True if they share all that decides the draws; `header`, the
        parts that differ; `failed_before` and `failed_after`, samplers that failed in one report;
        `only_before` and `only_after`, other entries without a counterpart; `rows`, the figures of
        the others, each with `before`, `after`, `difference`, `ci95` and `beyond`: True if the
        interval does not include 0, None if there is no interval. A figure that one report lacks
        has None there.
    """
    first, second = _entries(before), _entries(after)
    failed, failed_after = ([e.label for e in each.samplers if e.error] for each in (before, after))
    left_out = _not_comparable(before.header, after.header)
    headers = before.header.to_dict(), after.header.to_dict()
    return {
        "schema": SCHEMA,
        "shared_draws": all(headers[0].get(k) == headers[1].get(k) for k in DRAWS),
        "header": [
            {"key": key, "before": headers[0].get(key), "after": headers[1].get(key)}
            for key in headers[0] | headers[1]
            if key not in LEFT_OUT and headers[0].get(key) != headers[1].get(key)
        ],
        "failed_before": failed,
        "failed_after": failed_after,
        "only_before": _only(first, second, failed_after),
        "only_after": _only(second, first, failed),
        "rows": [
            {
                "sampler": entry.label,
                "sampler_after": second[key].label,
                "figures": list(_changes(entry, second[key], left_out)),
            }
            for key, entry in first.items()
            if key in second
        ],
    }


def beyond(compared: Json) -> list[tuple[str, Json]]:
    """Return the figures that differ beyond their interval, each with the name of its entry."""
    named = ((entry["sampler"], each) for entry in compared["rows"] for each in entry["figures"])
    return [(name, each) for name, each in named if each["beyond"]]


def same(compared: Json) -> bool:
    """Return True if no figure differs beyond its interval, and none lacks its counterpart.

    Figures without an interval may differ.
    """
    figures = (each for entry in compared["rows"] for each in entry["figures"])
    failed = compared["failed_before"] != compared["failed_after"]
    alone = compared["only_before"] or compared["only_after"] or failed
    return not (alone or beyond(compared) or any(f["difference"] is None for f in figures))


def _only(own: dict[Any, Entry], others: dict[Any, Entry], failed: list[str]) -> list[str]:
    """Return the entries that the other report doesn't name, neither measured nor failed."""
    return [e.label for key, e in own.items() if key not in others and e.label not in failed]


def _entries(document: Document) -> dict[Any, Entry]:
    """Return the entries by their identity.

    A matched sampler is identified by its target: the value found may differ between the reports.
    """
    return {
        (each.matched.open, each.matched.asked) if each.matched else each.label: each
        for each in document.entries
    }


def _not_comparable(before: Header, after: Header) -> set[str]:
    """Return the figures that can't be compared, as the number or length of texts differs."""
    length = before.length != after.length
    texts = [header.n * len(header.prompts) for header in (before, after)]
    left_out = set[str]()
    if length or texts[0] != texts[1]:
        # A plugin's metric may depend on them too, as MAUVE does.
        left_out = {*OF_SETS, *(metric.name for metric in after.metrics)}
    return left_out | ({*OF_TEXTS} if length else set())


def _changes(before: Entry, after: Entry, left_out: set[str]) -> Iterator[Json]:
    first, second = (
        {(each.view, each.figure): each for each in estimates(entry)} for entry in (before, after)
    )
    for view, figure in first | second:
        if figure not in left_out:
            sides = first.get((view, figure)), second.get((view, figure))
            yield {"view": view, "metric": figure, **_change(*sides)}


def _change(before: Measurement | None, after: Measurement | None) -> Json:
    """Return both values of a figure, and their difference if both reports have it."""
    values = {"before": before and before.value, "after": after and after.value}
    if before is None or after is None:
        return values | dict.fromkeys(("difference", "ci95", "beyond"))
    first, second = (KnownByInterval(each.value, each.interval) for each in (before, after))
    ends = (second - first).ends
    return values | {
        "difference": after.value - before.value,
        "ci95": ends,
        "beyond": _is_beyond(before, after, ends),
    }


def _is_beyond(before: Measurement, after: Measurement, ends: list[float] | None) -> bool | None:
    # Builds round differently, and an interval may have no width, as with greedy texts.
    if math.isclose(before.value, after.value, rel_tol=1e-6, abs_tol=1e-9):
        return False
    return None if ends is None else not ends[0] <= 0 <= ends[1]
