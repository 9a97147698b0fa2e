"""The sentences below a table of a report: what failed, how it was measured, what a column is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corelm.report.document.lookup import TEACHER_FORCED
from corelm.report.render.columns import overview_columns

PROMPTS = 3
"""The number of prompts that are quoted."""


def failures(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the samplers that failed, each with the reason."""
    failed = [row for row in document["samplers"] if row["error"]]
    return [(row["sampler"], row["error"]["message"]) for row in failed]


def settings(document: Mapping[str, Any]) -> str:
    """Say how each column of the overview was measured, in two sentences."""
    header = document["header"]
    contexts, model = header["contexts"], header["model"]
    prompts = ", ".join(f'"{prompt}"' for prompt in header["prompts"][:PROMPTS])
    more = len(header["prompts"]) - PROMPTS
    n = header["n"] * len(header["prompts"])
    on_contexts, on_texts = _titles(document)
    return (
        f"{on_contexts}: means over the same {contexts['positions']:,} positions of "
        f"{contexts['texts']:,} texts ({contexts['description']}). {on_texts}: from {n:,} texts "
        f"of at most {header['length']:,} tokens that each sampler wrote, prompt {prompts}"
        f"{f' and {more} more' if more > 0 else ''}, seed {header['seed']}, model {model['name']}."
    )


def _titles(document: Mapping[str, Any]) -> tuple[str, str]:
    """The columns on the same contexts, and those on each sampler's own texts, as lists."""
    views: dict[bool, list[str]] = {True: [], False: []}
    for each in overview_columns(document):
        if not each.to_human:
            views[each.column.view == TEACHER_FORCED].append(each.title)
    first, second = (f"{', '.join(titles[:-1])} and {titles[-1]}" for titles in views.values())
    return first.capitalize(), second.capitalize()


def legend(document: Mapping[str, Any]) -> str:
    """Define the columns of the overview in one paragraph."""
    columns = [each.column for each in overview_columns(document) if not each.to_human]
    meanings = [f"{column.title}: {column.meaning}" for column in columns]
    if document["reference"]:
        meanings.insert(1, "to human: the difference to human text")
    return f"{'; '.join(meanings)}."
