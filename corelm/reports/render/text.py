"""The sentences below a table of a report: what failed, how it was measured, what a column is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corelm.reports.document.lookup import HUMAN, TEACHER_FORCED, rows
from corelm.reports.document.matched import in_words
from corelm.reports.document.numbers import listed
from corelm.reports.render.columns import OverviewColumn

PROMPTS = 3
"""The number of prompts that are quoted."""


def failures(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what failed, each with the reason: samplers, and metrics as `SAMPLER.METRIC`."""
    failed = [row for row in document["samplers"] if row["error"]]
    samplers = [(row["sampler"], row["error"]["message"]) for row in failed]
    return samplers + failed_metrics(document)


def failed_metrics(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the metrics of plugins that failed, as `SAMPLER.METRIC`, each with the reason."""
    return [
        (f"{name}.{metric}", reason)
        for name, row in rows(document)
        for metric, reason in row.get("failed_metrics", {}).items()
    ]


def settings(document: Mapping[str, Any], columns: Sequence[OverviewColumn]) -> str:
    """Say how the columns of a table were measured, in two sentences."""
    header = document["header"]
    contexts, model = header["contexts"], header["model"]
    prompts = ", ".join(f'"{prompt}"' for prompt in header["prompts"][:PROMPTS])
    more = len(header["prompts"]) - PROMPTS
    n = header["n"] * len(header["prompts"]) * len(header.get("seeds") or [1])
    on_contexts, on_texts = _titles(columns)
    parts = [
        f"{on_contexts}: means over the same {contexts['positions']:,} positions of "
        f"{contexts['texts']:,} texts ({contexts['description']})."
    ]
    if on_texts:
        parts.append(
            f"{on_texts}: from {n:,} texts of at most {header['length']:,} tokens that each "
            f"sampler wrote, prompt {prompts}{f' and {more} more' if more > 0 else ''}, "
            f"{seeds(header)}."
        )
    if matched := targets(document):
        parts.append(f"Open parameters were matched to {matched}.")
    parts.append(f"Model: {model['name']}.")
    if header.get("second_scorer"):
        parts.append(f"Second scorer: {header['second_scorer']['name']}.")
    return " ".join(parts)


def seeds(header: Mapping[str, Any]) -> str:
    """Name the random seeds.

    Example:
        >>> seeds({"seed": 1}), seeds({"seed": 1, "seeds": [1, 2, 7]})
        ('seed 1', 'seeds 1, 2 and 7')
    """
    several = header.get("seeds") or [header["seed"]]
    return f"seed{'s' if len(several) > 1 else ''} {listed([*map(str, several)])}"


def targets(document: Mapping[str, Any]) -> str:
    """Say what open parameters were matched to; empty if nothing was matched."""
    found = document["header"].get("matched", ())
    return listed([in_words(each["figure"], each["target"]) for each in found])


def _titles(columns: Sequence[OverviewColumn]) -> tuple[str, str]:
    """The columns on the same contexts, and those on each sampler's own texts, as lists."""
    views: dict[bool, list[str]] = {True: [], False: []}
    for each in columns:
        if not each.against and each.column.text is None:
            views[each.column.view == TEACHER_FORCED].append(each.title)
    first, second = (listed(titles) for titles in views.values())
    return _capitalised(first), _capitalised(second)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def legend(columns: Sequence[OverviewColumn]) -> str:
    """Define the columns of a table in one paragraph."""
    meanings = {each.title: each.column.meaning for each in columns if not each.against}
    for each in columns:
        if each.against:
            of = "human text" if each.against == HUMAN else each.against
            meanings[each.title] = f"the difference from {of}"
    return f"{'; '.join(f'{title}: {meaning}' for title, meaning in meanings.items())}."
