"""Files of prompts: one a line, or JSON lines with the cluster of each prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from corelm.errors import UsageError
from corelm.runs import printable, text_lines
from corelm_report.json_lines import SUFFIXES

Prompts = Sequence[str] | Mapping[str, str]
"""The prompts, or a mapping from each prompt to its cluster."""


def parse_prompts(text: str, name: str) -> Prompts:
    """Return the prompts in a file; in one of JSON lines each may name its cluster.

    Prompts of one cluster, such as the paragraphs of a document, have something in common, so the
    clusters are the independent units.

    Args:
        text: the content of the file.
        name: its name, whose suffix decides the format.

    Raises:
        UsageError: there is no prompt, or an invalid line; the message has its number.

    Example:
        >>> parse_prompts('{"prompt": "a", "cluster": "one"}', "p.jsonl"), parse_prompts("a", "p")
        ({'a': 'one'}, ['a'])
    """
    if name.endswith(SUFFIXES):
        return _clustered(text_lines(text, name, "prompt", "cluster"), name)
    prompts = [line for line in text.splitlines() if line.strip()]
    if not prompts:
        raise UsageError(f"there is no prompt in {name}")
    return prompts


def _clustered(pairs: Iterable[tuple[str, str | int | None]], name: str) -> Prompts:
    """Return the prompts, as a mapping to their clusters if they have clusters.

    Raises:
        UsageError: only some have a cluster, or a prompt has two.
    """
    found: dict[str, str | None] = {}
    for prompt, given in pairs:
        cluster = None if given is None else str(given)
        if found.setdefault(prompt, cluster) != cluster:
            raise UsageError(f"{name}: the prompt {printable.shown(prompt)} has two clusters")
    clusters = {prompt: each for prompt, each in found.items() if each is not None}
    if clusters and len(clusters) < len(found):
        missing = next(prompt for prompt in found if prompt not in clusters)
        raise UsageError(
            f"{name}: the prompt {printable.shown(missing)} has no cluster, and others have one"
        )
    return clusters or list(found)


def clusters_of(prompts: Any) -> tuple[str, ...]:
    """Return the cluster of each prompt; none if they are not given as a mapping.

    Raises:
        UsageError: a cluster that isn't a string.
    """
    if not isinstance(prompts, Mapping):
        return ()
    for each in prompts.values():
        if not isinstance(each, str):
            raise UsageError(f"the cluster of a prompt is a text, not {printable.shown(each)}")
    return tuple(prompts.values())
